package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"koguma/policy"
)

// listing is how lists are printed in YAML and JSON. Next is always null: who wants the next page says --offset.
type listing[T any] struct {
	Total int     `json:"total"`
	Items []T     `json:"items"`
	Next  *string `json:"next"`
}

// printAs writes v as YAML or JSON.
func printAs(w io.Writer, format string, v any) error {
	switch format {
	case "yaml":
		text, err := policy.EncodeYAML(v)
		if err != nil {
			return err
		}
		_, err = w.Write(escapeStrings(text, yamlEscape))
		return err
	case "json":
		text, err := policy.Encode(v)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := json.Indent(&out, text, "", "  "); err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", escapeStrings(out.Bytes(), jsonEscape))
		return err
	default:
		return fmt.Errorf("no such format: %s", format)
	}
}

// escapeStrings escapes what a terminal would obey instead of show. There is such a thing only within strings in
// double quotes: JSON has no other place for it, and EncodeYAML gives it none.
func escapeStrings(text []byte, escape func(rune) string) []byte {
	var out []byte
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == '\n' || unicode.IsPrint(r) {
			out = append(out, text[:n]...)
		} else {
			out = append(out, escape(r)...)
		}
		text = text[n:]
	}
	return out
}

func yamlEscape(r rune) string { return fmt.Sprintf(`\U%08x`, r) }

func jsonEscape(r rune) string {
	if r < 0x10000 {
		return fmt.Sprintf(`\u%04x`, r)
	}
	hi, lo := utf16.EncodeRune(r)
	return fmt.Sprintf(`\u%04x\u%04x`, hi, lo)
}
