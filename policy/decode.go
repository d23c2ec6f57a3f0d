package policy

import (
	"fmt"
	"reflect"
	"strings"
)

// Bounds of one document. Nothing that people write comes near them.
const (
	maxDocument = 1 << 20 // bytes, but for a Secret
	maxDepth    = 100     // lists and objects within each other
)

// MaxSecret is how large the document with a Secret may be, in bytes: the list of the tokens that are revoked gets long.
const MaxSecret = 8 << 20

// SyntaxError says what is wrong with a document, and where. Line and Column count from 1; Column counts characters.
// Path is the field, such as networking.inbound[0].port, and empty where there is none to name.
type SyntaxError struct {
	Line, Column int
	Path, Reason string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	s := fmt.Sprintf("line %d, column %d: ", e.Line, e.Column)
	if e.Path != "" {
		s += e.Path + ": "
	}
	return s + e.Reason
}

// Decode reads exactly one JSON or YAML document of at most 1 MiB into what v points to. JSON is what begins with a
// brace. An error is a [*SyntaxError]; v may be half written then.
//
// Whatever two readers could understand differently is an error: a field that v does not have or whose name differs
// in case, a field given twice, a second document, an anchor, an alias, a merge key or a tag, a number or boolean
// where text belongs, and the plain YAML words that are text to one reader and something else to the next (no, 1e3,
// 010, 12:30, ~ and their like). Null stands for nothing but an absent scalar behind a pointer, or for itself in an
// any. Numbers in an any become a [encoding/json.Number].
//
// Fields that the document leaves out keep the values they have in v; lists and maps are replaced as wholes.
func Decode(data []byte, v any) error {
	docs, err := documents(data, maxDocument, false)
	if err != nil {
		return err
	}
	return walk(docs[0], v, false)
}

// DecodeOpen is [Decode] for JSON from programs that may say more than we know: unknown fields are passed over,
// unless they differ from a known one only in case. Everything else is as strict. The caller bounds the size.
func DecodeOpen(data []byte, v any) error {
	if err := checkText(data); err != nil {
		return err
	}
	n, err := parseJSON(data, 1)
	if err != nil {
		return err
	}
	return walk(n, v, true)
}

// walk writes n to what v points to.
func walk(n *node, v any, open bool) error {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("policy: cannot decode into %T: not a pointer", v)
	}
	w := walker{open: open, fields: map[reflect.Type][]goField{}}
	if err := w.value(n, p.Elem()); err != nil {
		err.Path = strings.TrimPrefix(err.Path, ".")
		return err
	}
	return nil
}
