package policy

import (
	"fmt"
	"regexp"
	"strings"
)

// node is one value of a document, whatever language the document is written in.
type node struct {
	kind      nodeKind
	text      string   // of a scalar
	plain     bool     // a scalar that YAML would guess the type of
	line, col int      // where it begins
	items     []*node  // of a list
	members   []member // of an object, in the document's order, names unique

	names map[string]*node // the members of an object that has many; see add
}

type member struct {
	name  string
	key   *node // the name as a node: for its place, and for how it was written
	value *node
}

type nodeKind string

const (
	kindNull     nodeKind = "null"
	kindBool     nodeKind = "a boolean"
	kindNumber   nodeKind = "a number"
	kindText     nodeKind = "text"
	kindVague    nodeKind = "a word that YAML readers disagree about"
	kindVariable nodeKind = "a variable" // text that was filled in: it is what the field wants it to be
	kindList     nodeKind = "a list"
	kindObject   nodeKind = "an object"
)

// fail is an error at the node.
func (n *node) fail(format string, args ...any) *SyntaxError {
	return &SyntaxError{Line: n.line, Column: n.col, Reason: fmt.Sprintf(format, args...)}
}

// few is how many members are looked through one by one.
const few = 16

// member is the value of that name, nil if there is none.
func (n *node) member(name string) *node {
	if n.names != nil {
		return n.names[name]
	}
	for i := range n.members {
		if n.members[i].name == name {
			return n.members[i].value
		}
	}
	return nil
}

// add appends a member, unless there is one of that name already.
func (n *node) add(key, value *node) *SyntaxError {
	if n.member(key.text) != nil {
		return key.fail("field %s is given twice", quote(key.text))
	}
	n.members = append(n.members, member{name: key.text, key: key, value: value})
	if n.names == nil && len(n.members) > few {
		n.names = map[string]*node{}
		for _, m := range n.members {
			n.names[m.name] = m.value
		}
	}
	if n.names != nil {
		n.names[key.text] = value
	}
	return nil
}

// The plain scalars that are no text to some reader of YAML 1.1 or 1.2.
var (
	nullWord = regexp.MustCompile(`^(|~|(?i:null))$`)
	number   = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`) // JSON's numbers
	vague    = regexp.MustCompile(`^(` + strings.Join([]string{
		`(?i:y|yes|n|no|on|off|true|false)`, `=`, `<<`,
		`[-+]?[0-9][0-9_]*`, `[-+]?0[bB][01_]+`, `[-+]?0[oO][0-7_]+`, `[-+]?0[xX][0-9a-fA-F_]+`,
		`[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?`, `[-+]?\.(?i:inf|nan)`,
		`[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`,
		`[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?`,
	}, `|`) + `)$`)
)

// plainKind is what a plain YAML scalar is.
func plainKind(text string) nodeKind {
	switch {
	case nullWord.MatchString(text):
		return kindNull
	case text == "true" || text == "false":
		return kindBool
	case number.MatchString(text):
		return kindNumber
	case vague.MatchString(text):
		return kindVague
	}
	return kindText
}

// quote is text as messages show it: escaped, and not too long.
func quote(text string) string {
	if r := []rune(text); len(r) > 60 {
		text = string(r[:60]) + "…"
	}
	return fmt.Sprintf("%q", text)
}
