package main

import (
	"bytes"
	"strings"
	"testing"

	"koguma/policy"
)

// What a terminal would obey is escaped the way the format does it, so that a reader gets the same text back.
func TestPrintRoundTrip(t *testing.T) {
	t.Parallel()
	type document struct {
		Text string            `json:"text"`
		Map  map[string]string `json:"map"`
		Next *string           `json:"next"`
	}
	text := "a\x1b[2J\u009b\x7f\u202e\U000e0001\U000f0000 é\nb: \"#"
	want := document{Text: text, Map: map[string]string{"key\u202e": "no"}}
	for _, format := range []string{"yaml", "json"} {
		var out bytes.Buffer
		if err := printAs(&out, format, want); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexAny(out.String(), "\x1b\u009b\x7f\u202e\U000e0001\U000f0000"); i >= 0 {
			t.Errorf("%s is raw at %d: %q", format, i, out.String())
		}
		var got document
		if err := policy.Decode(out.Bytes(), &got); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		if got.Text != text || got.Map["key\u202e"] != "no" {
			t.Errorf("%s: got %q from\n%s", format, got.Text, out.String())
		}
	}
}

func TestJSONIndent(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := printAs(&out, "json", listing[string]{Total: 1, Items: []string{"<a>"}}); err != nil {
		t.Fatal(err)
	}
	want := "{\n  \"total\": 1,\n  \"items\": [\n    \"<a>\"\n  ],\n  \"next\": null\n}\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
