package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader builds nodes from the tokens of one JSON document.
type jsonReader struct {
	data []byte
	dec  *json.Decoder

	// The place of the newest token. Tokens only ever move forward, so that all lines are counted once.
	offset, line, col int
}

// parseJSON reads one JSON document, which begins at the line of its file.
func parseJSON(data []byte, line int) (*node, error) {
	r := &jsonReader{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: line, col: 1}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := r.token(); !errors.Is(err, io.EOF) {
		return nil, r.at("there is more after the end of the document; only one is expected")
	}
	return n, nil
}

// token is the next token; the reader then stands at its beginning.
func (r *jsonReader) token() (json.Token, error) {
	start := int(r.dec.InputOffset())
	t, err := r.dec.Token()
	for start < len(r.data) && strings.IndexByte(" \t\r\n,:", r.data[start]) >= 0 {
		start++
	}
	for r.offset < start {
		c, size := utf8.DecodeRune(r.data[r.offset:])
		r.offset += size
		r.col++
		if c == '\n' {
			r.line++
			r.col = 1
		}
	}
	return t, err
}

func (r *jsonReader) at(reason string) *SyntaxError {
	return &SyntaxError{Line: r.line, Column: r.col, Reason: reason}
}

// next is the next token where there must be one.
func (r *jsonReader) next() (json.Token, *SyntaxError) {
	t, err := r.token()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, r.at("not JSON: the document ends too early")
	case err != nil:
		return nil, r.at("not JSON: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, ok := t.(string); ok && loneSurrogate(r.data[r.offset:r.dec.InputOffset()]) {
		return nil, r.at("not JSON: the text has half a \\u surrogate pair")
	}
	return t, nil
}

// value reads a value that stands within depth others.
func (r *jsonReader) value(depth int) (*node, error) {
	t, err := r.next()
	if err != nil {
		return nil, err
	}
	n := &node{line: r.line, col: r.col}
	switch t := t.(type) {
	case nil:
		n.kind, n.text = kindNull, "null"
	case bool:
		n.kind, n.text = kindBool, strconv.FormatBool(t)
	case json.Number:
		n.kind, n.text = kindNumber, t.String()
	case string:
		n.kind, n.text = kindText, t
	case json.Delim:
		if depth >= maxDepth {
			return nil, r.at("too many lists and objects within each other")
		}
		if t == '[' {
			n.kind = kindList
			return n, r.list(n, depth+1)
		}
		n.kind = kindObject
		return n, r.object(n, depth+1)
	}
	return n, nil
}

func (r *jsonReader) list(n *node, depth int) error {
	for r.dec.More() {
		item, err := r.value(depth)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	return r.end()
}

func (r *jsonReader) object(n *node, depth int) error {
	for r.dec.More() {
		t, err := r.next()
		if err != nil {
			return err
		}
		name, _ := t.(string) // the decoder lets nothing else through
		key := &node{kind: kindText, text: name, line: r.line, col: r.col}
		value, verr := r.value(depth)
		if verr != nil {
			return verr
		}
		if err := n.add(key, value); err != nil {
			return err
		}
	}
	return r.end()
}

// end reads the closing bracket.
func (r *jsonReader) end() error {
	if _, err := r.next(); err != nil {
		return err
	}
	return nil
}

// loneSurrogate reports whether a JSON string, quotes and all, escapes half a character: encoding/json turns that
// into U+FFFD without a word.
func loneSurrogate(s []byte) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		c, ok := escape(s[i:])
		if ok && utf16.IsSurrogate(c) {
			low, _ := escape(s[i+6:])
			if utf16.DecodeRune(c, low) == utf8.RuneError {
				return true
			}
			i += 6
		}
		i++ // what is escaped may itself be a backslash
	}
	return false
}

// escape is the code unit of the \u escape that s begins with.
func escape(s []byte) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	c, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	return rune(c), err == nil
}
