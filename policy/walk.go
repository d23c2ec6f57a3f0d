package policy

import (
	"cmp"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// walker writes nodes to Go values. Errors get their path on the way up.
type walker struct {
	open   bool // unknown fields are passed over
	fields map[reflect.Type][]goField
}

// goField is a field of a struct as documents name it.
type goField struct {
	name   string
	index  []int
	quoted bool // a number that is written as text
}

func (w *walker) value(n *node, v reflect.Value) *SyntaxError {
	if v.Kind() == reflect.Pointer {
		if n.kind == kindNull && isScalar(v.Type().Elem()) {
			v.SetZero()
			return nil
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return w.value(n, v.Elem())
	}
	if v.Kind() == reflect.Interface {
		return w.anything(n, v)
	}
	if n.kind == kindNull {
		return n.fail("null where a value is needed: give one, or leave the field out")
	}
	switch t := v.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return textValue(n, t)
	case *Document:
		return w.document(n, t)
	}
	switch v.Kind() {
	case reflect.Struct:
		return w.object(n, v)
	case reflect.Map:
		return w.mapping(n, v)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return bytesValue(n, v)
		}
		return w.list(n, v)
	}
	return scalar(n, v)
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// isScalar reports whether a value of type t is written as one word.
func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice:
		return reflect.PointerTo(t).Implements(textUnmarshaler)
	}
	return true
}

// textValue hands over the text of a scalar as it is written, since the type knows best what it may be.
func textValue(n *node, t encoding.TextUnmarshaler) *SyntaxError {
	switch n.kind {
	case kindText, kindVariable, kindNumber, kindVague:
	default:
		return n.fail("must be text, not %s", n.kind)
	}
	if err := t.UnmarshalText([]byte(n.text)); err != nil {
		return n.fail("%v", err)
	}
	return nil
}

// bytesValue reads base64. It shows nothing of the value, which may well be secret.
func bytesValue(n *node, v reflect.Value) *SyntaxError {
	if n.kind != kindText && n.kind != kindVariable {
		return n.fail("must be base64 text in quotes")
	}
	// base64(1) wraps its output, and a shell or YAML makes blanks of the line breaks, which the decoder passes over itself.
	text := strings.NewReplacer(" ", "", "\t", "").Replace(n.text)
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return n.fail("must be base64, as base64(1) writes it")
	}
	v.SetBytes(data)
	return nil
}

func (w *walker) list(n *node, v reflect.Value) *SyntaxError {
	if n.kind != kindList {
		return n.fail("must be a list, not %s", n.kind)
	}
	s := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		if err := w.value(item, s.Index(i)); err != nil {
			err.Path = fmt.Sprintf("[%d]%s", i, err.Path)
			return err
		}
	}
	v.Set(s)
	return nil
}

func (w *walker) mapping(n *node, v reflect.Value) *SyntaxError {
	if n.kind != kindObject {
		return n.fail("must be an object, not %s", n.kind)
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.members))
	for _, f := range n.members {
		if err := mustBeText(f.key); err != nil {
			return err
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if err := w.value(f.value, e); err != nil {
			err.Path = "." + f.name + err.Path
			return err
		}
		m.SetMapIndex(reflect.ValueOf(f.name).Convert(v.Type().Key()), e)
	}
	v.Set(m)
	return nil
}

func (w *walker) object(n *node, v reflect.Value) *SyntaxError {
	if n.kind != kindObject {
		return n.fail("must be an object, not %s", n.kind)
	}
	known := w.fieldsOf(v.Type())
	for _, f := range n.members {
		i := slices.IndexFunc(known, func(k goField) bool { return k.name == f.name })
		if i < 0 {
			if err := w.unknown(f, known); err != nil {
				return err
			}
			continue
		}
		field, value := v.FieldByIndex(known[i].index), f.value
		if known[i].quoted {
			if value.kind != kindText {
				err := value.fail("must be a number in quotes, not %s", value.kind)
				err.Path = "." + f.name
				return err
			}
			value = &node{kind: kindNumber, text: value.text, line: value.line, col: value.col}
		}
		if err := w.value(value, field); err != nil {
			err.Path = "." + f.name + err.Path
			return err
		}
	}
	return nil
}

// unknown judges a member that no field is named for.
func (w *walker) unknown(f member, known []goField) *SyntaxError {
	names := make([]string, len(known))
	for i, k := range known {
		if strings.EqualFold(k.name, f.name) {
			return f.key.fail("unknown field %s: write %s", quote(f.name), k.name)
		}
		names[i] = k.name
	}
	if w.open {
		return nil
	}
	return f.key.fail("unknown field %s: the fields here are %s", quote(f.name), strings.Join(names, ", "))
}

// fieldsOf are the fields of a struct, those of embedded structs among them.
func (w *walker) fieldsOf(t reflect.Type) []goField {
	all, ok := w.fields[t]
	if !ok {
		all = appendFields(nil, t, nil)
		w.fields[t] = all
	}
	return all
}

// appendFields appends the fields of t, which stands at index in the struct that documents see.
func appendFields(all []goField, t reflect.Type, index []int) []goField {
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		at := append(slices.Clip(index), i)
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous && name == "":
			all = appendFields(all, f.Type, at)
		default:
			all = append(all, goField{name: cmp.Or(name, f.Name), index: at, quoted: option == "string"})
		}
	}
	return all
}

// document keeps an object as it is, for somebody else to read.
func (w *walker) document(n *node, to *Document) *SyntaxError {
	if n.kind != kindObject {
		return n.fail("must be an object, not %s", n.kind)
	}
	var content any
	if err := w.anything(n, reflect.ValueOf(&content).Elem()); err != nil {
		return err
	}
	d, err := DocumentOf(content)
	if err != nil {
		return n.fail("%v", err)
	}
	*to = d
	return nil
}

// anything reads a value whose shape the Go side leaves open.
func (w *walker) anything(n *node, v reflect.Value) *SyntaxError {
	if v.NumMethod() > 0 {
		return n.fail("cannot decode into %s", v.Type())
	}
	var value any
	switch n.kind {
	case kindNull:
		v.SetZero()
		return nil
	case kindBool:
		value = n.text == "true"
	case kindNumber:
		value = json.Number(n.text)
	case kindList:
		list := []any{}
		if err := w.list(n, reflect.ValueOf(&list).Elem()); err != nil {
			return err
		}
		value = list
	case kindObject:
		object := map[string]any{}
		if err := w.mapping(n, reflect.ValueOf(&object).Elem()); err != nil {
			return err
		}
		value = object
	default:
		if err := mustBeText(n); err != nil {
			return err
		}
		value = n.text
	}
	v.Set(reflect.ValueOf(value))
	return nil
}

// mustBeText refuses what is not text beyond doubt.
func mustBeText(n *node) *SyntaxError {
	switch {
	case n.kind == kindText, n.kind == kindVariable:
		return nil
	case n.plain:
		return n.fail("%s is %s: quote it", quote(n.text), n.kind)
	}
	return n.fail("must be text, not %s", n.kind)
}

// scalar reads text, a boolean or a number.
func scalar(n *node, v reflect.Value) *SyntaxError {
	switch v.Kind() {
	case reflect.String:
		if err := mustBeText(n); err != nil {
			return err
		}
		v.SetString(n.text)
	case reflect.Bool:
		if n.kind != kindBool && n.kind != kindVariable || n.text != "true" && n.text != "false" {
			return n.fail("must be true or false")
		}
		v.SetBool(n.text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(n.text, 10, v.Type().Bits())
		if !isWhole(n) || err != nil {
			return notWhole(n)
		}
		v.SetInt(i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		i, err := strconv.ParseUint(n.text, 10, v.Type().Bits())
		if !isWhole(n) || err != nil {
			return notWhole(n)
		}
		v.SetUint(i)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(n.text, v.Type().Bits())
		if !isNumber(n) || err != nil {
			return n.fail("must be a number")
		}
		v.SetFloat(f)
	default:
		return n.fail("cannot decode into %s", v.Type())
	}
	return nil
}

func isNumber(n *node) bool {
	return (n.kind == kindNumber || n.kind == kindVariable) && number.MatchString(n.text)
}

// isWhole reports whether n is a number without fraction and exponent.
func isWhole(n *node) bool { return isNumber(n) && !strings.ContainsAny(n.text, ".eE") }

func notWhole(n *node) *SyntaxError {
	switch {
	case isWhole(n):
		return n.fail("%s is too large, or negative where that makes no sense", quote(n.text))
	case n.kind == kindText:
		return n.fail("must be a whole number without quotes")
	}
	return n.fail("must be a whole number, written as such")
}
