package policy

import (
	"bytes"
	"errors"
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

// documents are the documents in data that are not empty: at least one, and at most one unless there may be many. JSON
// and YAML may stand side by side, as they do when files are joined.
func documents(data []byte, many bool) ([]*node, error) {
	if err := checkText(data); err != nil {
		return nil, err
	}
	if len(data) > maxDocument && !many {
		return nil, tooLarge(1)
	}
	var docs []*node
	for line := 1; len(data) > 0; {
		var doc []byte
		doc, data = cutDocument(data)
		n, err := parseDocument(doc, line)
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

func tooLarge(line int) error {
	return &SyntaxError{Line: line, Column: 1, Reason: "the document is larger than 1 MiB"}
}

// separator is a line that begins a document. Neither YAML nor JSON lets one stand inside of a value.
var separator = regexp.MustCompile(`(?m)^---(?:[ \t\r]|$)`)

// cutDocument cuts the first document off data, its own separator included.
func cutDocument(data []byte) (doc, rest []byte) {
	from := 0
	if at := separator.FindIndex(data); at != nil && at[0] == 0 {
		from = at[1]
	}
	if at := separator.FindIndex(data[from:]); at != nil && at[0] > 0 {
		return data[:from+at[0]], data[from+at[0]:]
	}
	return data, nil
}

// bareSeparator is a separator with nothing of the document on its line.
var bareSeparator = regexp.MustCompile(`\A---[ \t]*(#[^\n]*)?\r?(\n|\z)`)

// parseDocument reads one document, which begins at the line of its file; nil if there is nothing in it.
func parseDocument(data []byte, line int) (*node, error) {
	if len(data) > maxDocument {
		return nil, tooLarge(line)
	}
	body := data
	if at := bareSeparator.FindIndex(data); at != nil {
		body = data[at[1]:]
	}
	if b := bytes.TrimLeft(body, " \t\r\n"); len(b) > 0 && b[0] == '{' {
		return parseJSON(body, line+bytes.Count(data[:len(data)-len(body)], []byte("\n")))
	}
	if nothing.Match(body) {
		return nil, nil
	}
	return parseYAML(data, line)
}

// nothing is blanks and comments. Telling them early makes a file of separators cheap to read.
var nothing = regexp.MustCompile(`\A(?:[ \t\r]*(?:#[^\n]*)?\n)*[ \t\r]*(?:#[^\n]*)?\z`)

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
		return nil, n.fail("too many lists and objects within each other")
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
	seen := map[string]bool{}
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
		if err := n.add(seen, key, value); err != nil {
			return err
		}
	}
	return nil
}
