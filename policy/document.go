package policy

import (
	"bytes"
	"encoding/json"
)

// Document is a part of a resource whose shape somebody else knows, such as the configuration of a kind of CA: JSON on
// one line, always the same for the same content. It was read by the strict decoder. The empty Document is none.
type Document string

// Decode reads the document into what v points to, as strictly as [Decode] does. An error is a [*SyntaxError] whose
// Path is that within the document; its line and column mean nothing.
func (d Document) Decode(v any) error { return Decode([]byte(d), v) }

// DocumentOf is v as a Document.
func DocumentOf(v any) (Document, error) {
	data, err := Encode(v)
	return Document(data), err
}

// MarshalJSON implements [json.Marshaler].
func (d Document) MarshalJSON() ([]byte, error) {
	if d == "" {
		return []byte("null"), nil
	}
	return []byte(d), nil
}

// UnmarshalJSON implements [json.Unmarshaler], for what the store has kept.
func (d *Document) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	r := json.NewDecoder(bytes.NewReader(data))
	r.UseNumber()
	var content any
	err := r.Decode(&content)
	if err == nil {
		*d, err = DocumentOf(content) // as it was, however the store escapes
	}
	return err
}
