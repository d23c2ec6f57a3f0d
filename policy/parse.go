package policy

import "strings"

// Parse reads one resource, JSON or YAML, into the type that its "type" field names, by the rules of [Decode]. It does
// not validate it.
func Parse(data []byte) (Resource, error) {
	return parseOne(data, maxDocument)
}

// ParseSecret is [Parse] for documents of up to [MaxSecret], where a Secret is expected.
func ParseSecret(data []byte) (Resource, error) {
	return parseOne(data, MaxSecret)
}

func parseOne(data []byte, size int) (Resource, error) {
	docs, err := documents(data, size, false)
	if err != nil {
		return nil, err
	}
	return parseNode(docs[0])
}

// ParseAll reads all resources of a file: JSON, or YAML documents separated by lines of ---, each by the rules of
// [Decode] but of at most [MaxSecret], because it may be a Secret. With vars, {{ name }} stands for the value of that name, which
// becomes one scalar of the type that the field has, whatever it contains; a name without a value, and a value that is not used,
// are errors. Where vars is nil, {{ name }} means nothing.
func ParseAll(data []byte, vars map[string]string) ([]Resource, error) {
	docs, err := fillDocuments(data, vars, MaxSecret, true)
	if err != nil {
		return nil, err
	}
	all := make([]Resource, len(docs))
	for i, n := range docs {
		if all[i], err = parseNode(n); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ParseVars is [ParseAll] for a file with exactly one resource, in which variables are always filled in.
func ParseVars(data []byte, vars map[string]string) (Resource, error) {
	if vars == nil {
		vars = map[string]string{}
	}
	docs, err := fillDocuments(data, vars, maxDocument, false)
	if err != nil {
		return nil, err
	}
	return parseNode(docs[0])
}

// fillDocuments are the documents in data, with their variables filled in unless values is nil.
func fillDocuments(data []byte, values map[string]string, size int, many bool) ([]*node, error) {
	if values == nil {
		return documents(data, size, many)
	}
	v := &vars{values: values, used: map[string]bool{}}
	data, err := v.hide(data)
	if err != nil {
		return nil, err
	}
	docs, err := documents(data, size, many)
	if err != nil {
		return nil, err
	}
	for _, n := range docs {
		if err := v.fill(n); err != nil {
			return nil, err
		}
	}
	return docs, v.unused()
}

// parseNode makes a resource of n.
func parseNode(n *node) (Resource, error) {
	if n.kind != kindObject {
		return nil, n.fail("a resource must be an object, not %s", n.kind)
	}
	t := n.member("type")
	if t == nil {
		return nil, n.fail("field \"type\" is missing: one of %s", typeNames())
	}
	if t.kind != kindText && t.kind != kindVariable {
		return nil, &SyntaxError{Line: t.line, Column: t.col, Path: "type", Reason: "must be one of " + typeNames()}
	}
	r := New(Type(t.text))
	if r == nil {
		return nil, &SyntaxError{Line: t.line, Column: t.col, Path: "type",
			Reason: "unknown type " + quote(t.text) + ": must be one of " + typeNames()}
	}
	if err := walk(n, r, false); err != nil {
		return nil, err
	}
	return r, nil
}

// typeNames lists the types that people write.
func typeNames() string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k.Type))
	}
	return strings.Join(names, ", ")
}
