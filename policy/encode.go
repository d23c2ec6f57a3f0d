package policy

import (
	"bytes"
	"encoding/json"

	"go.yaml.in/yaml/v3"
)

// Encode is r as JSON on one line, always the same for the same r. [Decode] reads it back.
func Encode(r any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// EncodeYAML is r as YAML, its fields named and ordered as in its JSON. [Decode] reads it back.
func EncodeYAML(r any) ([]byte, error) {
	data, err := Encode(r)
	if err != nil {
		return nil, err
	}
	n, err := parseJSON(data, 1)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(yamlNode(n)); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// yamlNode is n as the YAML encoder takes it.
func yamlNode(n *node) *yaml.Node {
	switch n.kind {
	case kindList:
		y := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range n.items {
			y.Content = append(y.Content, yamlNode(item))
		}
		return y
	case kindObject:
		y := &yaml.Node{Kind: yaml.MappingNode}
		for _, m := range n.members {
			y.Content = append(y.Content, yamlNode(m.key), yamlNode(m.value))
		}
		return y
	case kindText:
		y := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: n.text}
		if plainKind(n.text) != kindText || !isOneLine(n.text) {
			y.Style = yaml.DoubleQuotedStyle
		}
		return y
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: n.text}
}

// isOneLine reports whether all of text can stand on one line of YAML as it is.
func isOneLine(text string) bool {
	for _, c := range text {
		if c < ' ' || c >= 0x7F {
			return false
		}
	}
	return true
}
