package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// checkText refuses what is not UTF-8 text.
func checkText(data []byte) error {
	reason := ""
	switch {
	case bytes.HasPrefix(data, []byte{0xEF, 0xBB, 0xBF}):
		reason = "the text begins with a byte order mark: save it as UTF-8 without one"
	case bytes.HasPrefix(data, []byte{0xFE, 0xFF}), bytes.HasPrefix(data, []byte{0xFF, 0xFE}):
		reason = "the text is UTF-16: save it as UTF-8"
	case !utf8.Valid(data):
		reason = "the text is not UTF-8"
	case bytes.IndexByte(data, 0) >= 0:
		reason = "the text has a zero byte in it: save it as UTF-8"
	default:
		return nil
	}
	return &SyntaxError{Line: 1, Column: 1, Reason: reason}
}

// documents are the documents in data that are not empty, each of at most size bytes: at least one, and at most one
// unless there may be many. JSON and YAML may stand side by side, as they do when files are joined.
func documents(data []byte, size int, many bool) ([]*node, error) {
	if err := checkText(data); err != nil {
		return nil, err
	}
	var docs []*node
	for line := 1; len(data) > 0; {
		var doc []byte
		doc, data = cutDocument(data)
		n, err := parseDocument(doc, line, size)
		if err != nil {
			return nil, err
		}
		if n != nil {
			docs = append(docs, n)
		}
		if len(docs) > 1 && !many {
			return nil, n.fail("a second document begins here; only one is expected")
		}
		line += bytes.Count(doc, []byte("\n"))
	}
	if len(docs) == 0 {
		return nil, &SyntaxError{Line: 1, Column: 1, Reason: "the document is empty"}
	}
	return docs, nil
}

// cutDocument cuts the first document off data. The next one begins at the next line of ---, which neither YAML nor
// JSON lets stand inside of a value.
func cutDocument(data []byte) (doc, rest []byte) {
	for end := 0; ; {
		i := bytes.Index(data[end:], []byte("\n---"))
		if i < 0 {
			return data, nil
		}
		end += i + 1
		if isSeparator(data[end:]) {
			return data[:end], data[end:]
		}
	}
}

// isSeparator reports whether data, which begins a line, begins with a separator.
func isSeparator(data []byte) bool {
	after, ok := bytes.CutPrefix(data, []byte("---"))
	return ok && (len(after) == 0 || strings.IndexByte(" \t\r\n", after[0]) >= 0)
}

// parseDocument reads one document, which begins at the line of its file; nil if there is nothing in it.
func parseDocument(data []byte, line, size int) (*node, error) {
	if len(data) > size {
		return nil, &SyntaxError{Line: line, Column: 1, Reason: fmt.Sprintf("the document is larger than %d MiB", size>>20)}
	}
	body, bodyLine := data, line
	if separator, rest, _ := bytes.Cut(data, []byte("\n")); isSeparator(data) && isNothing(separator[3:]) {
		body, bodyLine = rest, line+1
	}
	if isNothing(body) {
		return nil, nil // told early, a file of separators is cheap to read
	}
	if blanks := len(body) - len(bytes.TrimLeft(body, " \t\r\n")); body[blanks] == '{' {
		return parseJSON(body, bodyLine)
	}
	return parseYAML(data, line)
}

// isNothing reports whether data is blanks and comments. YAML has more line breaks than one, and a comment ends at
// each of them, so a comment with one of the others in it is left to YAML.
func isNothing(data []byte) bool {
	for line := range bytes.Lines(data) {
		line = bytes.Trim(line, " \t\r\n")
		if len(line) > 0 && (line[0] != '#' || bytes.ContainsAny(line, "\r\u0085\u2028\u2029")) {
			return false
		}
	}
	return true
}

func parseYAML(data []byte, line int) (*node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var root *node
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return root, nil
		}
		if err != nil {
			return nil, yamlError(err, line)
		}
		n, err := convert(doc.Content[0], line-1, 0)
		if err != nil {
			return nil, err
		}
		if n.kind == kindNull && n.text == "" {
			continue // nothing but a separator and comments
		}
		if root != nil {
			return nil, n.fail("a second document begins here: separate documents by a line ---")
		}
		root = n
	}
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// yamlError is an error of the YAML parser, whose document begins at the line.
func yamlError(err error, line int) error {
	text := strings.TrimSpace(err.Error())
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line += n - 1
		}
	}
	return &SyntaxError{Line: line, Column: 1, Reason: "not YAML: " + text}
}

// convert makes a node of y, which stands within depth others and counts its lines from after the given one.
func convert(y *yaml.Node, line, depth int) (*node, error) {
	n := &node{line: line + y.Line, col: y.Column}
	switch {
	case y.Kind == yaml.AliasNode:
		return nil, n.fail("aliases (*%s) are not allowed: write the value out", y.Value)
	case y.Anchor != "":
		return nil, n.fail("anchors (&%s) are not allowed: write the value out where it is needed", y.Anchor)
	case y.Style&yaml.TaggedStyle != 0:
		return nil, n.fail("tags (%s) are not allowed", y.Tag)
	case y.Kind != yaml.ScalarNode && depth >= maxDepth:
		return nil, n.fail(tooDeep)
	}
	switch y.Kind {
	case yaml.ScalarNode:
		n.kind, n.text = kindText, y.Value
		if y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
			n.kind, n.plain = plainKind(y.Value), true
		}
		return n, nil
	case yaml.SequenceNode:
		n.kind = kindList
		for _, c := range y.Content {
			item, err := convert(c, line, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
		return n, nil
	case yaml.MappingNode:
		n.kind = kindObject
		return n, convertMembers(n, y.Content, line, depth+1)
	}
	return nil, n.fail("this has no place in a document")
}

// convertMembers makes members of n from keys and values in turn.
func convertMembers(n *node, content []*yaml.Node, line, depth int) error {
	for i := 0; i+1 < len(content); i += 2 {
		if k := content[i]; k.Kind == yaml.MappingNode || k.Kind == yaml.SequenceNode {
			return (&node{line: line + k.Line, col: k.Column}).fail(
				"a field's name must be text; if {{ name }} is a variable here, give its value by --var name=value")
		}
		key, err := convert(content[i], line, depth)
		if err != nil {
			return err
		}
		if key.plain && key.text == "<<" {
			return key.fail("merge keys (<<) are not allowed: write the fields out")
		}
		value, err := convert(content[i+1], line, depth)
		if err != nil {
			return err
		}
		if err := n.add(key, value); err != nil {
			return err
		}
	}
	return nil
}
