package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// vars fills {{ name }} in documents, so that a value always stays one scalar, whatever it contains: each placeholder
// becomes a token before the document is parsed, and the tokens become the values afterwards. A placeholder in a
// comment is never seen again, so it neither counts as use nor has to make sense.
type vars struct {
	values map[string]string
	used   map[string]bool
	found  []string // the placeholders; the first character of a token says which
}

// A token is as long as its placeholder, so that errors name the right column. Its characters are of Unicode's private
// use areas, which YAML and JSON let stand everywhere in a scalar and give no meaning.
const (
	tokenFirst = 0xF0000
	tokenLast  = 0xFFFFD
	tokenFill  = 0xE000
)

// isToken reports whether c may be part of a token.
func isToken(c rune) bool { return c == tokenFill || tokenFirst <= c && c <= tokenLast }

var (
	// placeholder also takes in what only resembles one, so that it can be refused by name.
	placeholder = regexp.MustCompile(`\{\{\{[^{}\n]*\}\}\}|\{\{[^{}\n]*\}\}|\{\{`)
	variable    = regexp.MustCompile(`^\{\{[ \t]*([A-Za-z0-9_][A-Za-z0-9_.-]*)[ \t]*\}\}$`)
)

// hide replaces the placeholders in data by tokens.
func (v *vars) hide(data []byte) ([]byte, error) {
	if err := checkText(data); err != nil {
		return nil, err
	}
	for name, value := range v.values {
		if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("the value of variable %s is not UTF-8 text", quote(name))
		}
	}
	text := string(data)
	if i := strings.IndexFunc(text, isToken); i >= 0 {
		return nil, fmt.Errorf("line %d: private use character U+%X cannot stand in a file with variables",
			1+strings.Count(text[:i], "\n"), []rune(text[i:])[0])
	}
	if strings.Count(text, "{{") > tokenLast-tokenFirst {
		return nil, fmt.Errorf("there are more than %d variables", tokenLast-tokenFirst)
	}
	text = placeholder.ReplaceAllStringFunc(text, func(p string) string {
		v.found = append(v.found, p)
		return string(rune(tokenFirst+len(v.found)-1)) + strings.Repeat(string(rune(tokenFill)), utf8.RuneCountInString(p)-1)
	})
	return []byte(text), nil
}

// fill replaces the tokens in n by the values.
func (v *vars) fill(n *node) error {
	for _, m := range n.members {
		if strings.ContainsFunc(m.name, isToken) {
			return m.key.fail("a variable can stand for a value, not for the name of a field")
		}
		if err := v.fill(m.value); err != nil {
			return err
		}
	}
	for _, item := range n.items {
		if err := v.fill(item); err != nil {
			return err
		}
	}
	if !strings.ContainsFunc(n.text, isToken) {
		return nil
	}
	text, err := v.replace(n.text)
	if err != nil {
		return n.fail("%v", err)
	}
	n.kind, n.text = kindVariable, text
	return nil
}

// replace is text with the values in place of the tokens.
func (v *vars) replace(text string) (string, error) {
	var b strings.Builder
	for _, c := range text {
		if !isToken(c) {
			b.WriteRune(c)
		}
		if !isToken(c) || c == tokenFill {
			continue
		}
		p := v.found[c-tokenFirst]
		m := variable.FindStringSubmatch(p)
		if m == nil {
			return "", fmt.Errorf("%s is no variable: only {{ name }} is filled in", quote(p))
		}
		value, ok := v.values[m[1]]
		if !ok {
			return "", fmt.Errorf("variable %s has no value: give one by --var %s=VALUE, or --dataplane-var of kuma-dp",
				quote(m[1]), m[1])
		}
		v.used[m[1]] = true
		b.WriteString(value)
	}
	return b.String(), nil
}

// unused is an error if some variable was given for nothing: its name is misspelt, here or in the document.
func (v *vars) unused() error {
	for _, name := range slices.Sorted(maps.Keys(v.values)) {
		if !v.used[name] {
			return fmt.Errorf("variable %s is given but not used: nothing says {{ %s }}", quote(name), name)
		}
	}
	return nil
}
