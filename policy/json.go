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

// jsonReader builds nodes from a JSON document that encoding/json has found to be one, and UTF-8.
type jsonReader struct {
	data      []byte
	at        int // the next byte
	line, col int // where that is
}

const tooDeep = "too many lists and objects within each other"

// parseJSON reads one JSON document, which begins at the line of its file. Whether it is one encoding/json says, which reads
// it without a word where anything stands; that is what it is read again for.
func parseJSON(data []byte, line int) (*node, error) {
	r := &jsonReader{data: data, line: line, col: 1}
	if !json.Valid(data) {
		return nil, r.fault()
	}
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// fault says what is wrong with a document that is not one JSON document.
func (r *jsonReader) fault() *SyntaxError {
	dec := json.NewDecoder(bytes.NewReader(r.data))
	var first json.RawMessage
	err := dec.Decode(&first)
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	switch {
	case ok:
		r.skip(int(syntax.Offset) - 1) // the last byte that it read is one too many
		if strings.HasSuffix(syntax.Error(), "exceeded max depth") {
			return r.fail(tooDeep)
		}
		return r.fail("not JSON: " + syntax.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.skip(len(r.data))
		return r.fail("not JSON: the document ends too early")
	case err != nil:
		return r.fail("not JSON: " + err.Error())
	}
	r.skip(int(dec.InputOffset()))
	r.space()
	return r.fail("there is more after the end of the document; only one is expected")
}

func (r *jsonReader) fail(reason string) *SyntaxError {
	return &SyntaxError{Line: r.line, Column: r.col, Reason: reason}
}

// skip goes on to a byte that stands later.
func (r *jsonReader) skip(to int) {
	passed := r.data[r.at:to]
	if i := bytes.LastIndexByte(passed, '\n'); i >= 0 {
		r.line += bytes.Count(passed, []byte("\n"))
		r.col = 1
		passed = passed[i+1:]
	}
	r.col += utf8.RuneCount(passed)
	r.at = to
}

// space passes over what has no meaning: blanks, and the commas and colons that encoding/json has found in their places.
func (r *jsonReader) space() {
	to := r.at
	for to < len(r.data) && strings.IndexByte(" \t\r\n,:", r.data[to]) >= 0 {
		to++
	}
	r.skip(to)
}

// word is the number, or the true, false or null that begins here.
func (r *jsonReader) word() string {
	to := r.at
	for to < len(r.data) && strings.IndexByte(" \t\r\n,:]}", r.data[to]) < 0 {
		to++
	}
	word := string(r.data[r.at:to])
	r.skip(to)
	return word
}

// text is the text that begins here.
func (r *jsonReader) text() (string, *SyntaxError) {
	to, escaped := r.at+1, false
	for ; r.data[to] != '"'; to++ {
		if r.data[to] == '\\' { // what is escaped may be a quote
			to, escaped = to+1, true
		}
	}
	to++
	quoted := r.data[r.at:to]
	text := string(quoted[1 : len(quoted)-1])
	if escaped {
		if loneSurrogate(quoted) {
			return "", r.fail("not JSON: the text has half a \\u surrogate pair")
		}
		if err := json.Unmarshal(quoted, &text); err != nil {
			return "", r.fail("not JSON: " + err.Error())
		}
	}
	r.skip(to)
	return text, nil
}

// value reads a value that stands within depth others.
func (r *jsonReader) value(depth int) (*node, *SyntaxError) {
	r.space()
	n := &node{line: r.line, col: r.col}
	var err *SyntaxError
	switch r.data[r.at] {
	case '{', '[':
		if depth >= maxDepth {
			return nil, r.fail(tooDeep)
		}
		if r.data[r.at] == '{' {
			n.kind = kindObject
		} else {
			n.kind = kindList
		}
		err = r.inner(n, depth+1)
	case '"':
		n.kind = kindText
		n.text, err = r.text()
	case 'n':
		n.kind, n.text = kindNull, r.word()
	case 't', 'f':
		n.kind, n.text = kindBool, r.word()
	default:
		n.kind, n.text = kindNumber, r.word()
	}
	return n, err
}

// inner reads what is in a list or an object, with its brackets.
func (r *jsonReader) inner(n *node, depth int) *SyntaxError {
	r.skip(r.at + 1)
	for r.space(); r.data[r.at] != ']' && r.data[r.at] != '}'; r.space() {
		value, err := r.value(depth)
		if err != nil {
			return err
		}
		if n.kind == kindList {
			n.items = append(n.items, value)
			continue
		}
		key := value
		if value, err = r.value(depth); err != nil {
			return err
		}
		if err := n.add(key, value); err != nil {
			return err
		}
	}
	r.skip(r.at + 1)
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
