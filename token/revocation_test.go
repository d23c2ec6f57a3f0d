package token_test

import (
	"strings"
	"testing"

	"koguma/token"
)

func TestValidID(t *testing.T) {
	t.Parallel()
	for id, ok := range map[string]bool{
		"0e120ec9-6b42-495d-9758-07b59fe86fb9": true,
		strings.Repeat("a", 128):               true,
		"!~":                                   true,
		"a.b.c":                                true,
		strings.Repeat("a", 129):               false,
		"":                                     false,
		"a b":                                  false,
		"a,b":                                  false,
		"a\n":                                  false,
		"\x7f":                                 false,
		"\u00e9":                               false,
		string(signed(t, goodHeader, "{}")):    false,
		"eyJh.eyJi.c":                          false,
	} {
		err := token.ValidID(id)
		if (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
		if err != nil && len(id) > 8 && strings.Contains(err.Error(), id) {
			t.Errorf("the error quotes it: %v", err)
		}
	}
}
