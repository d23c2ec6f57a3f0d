package mistake

import (
	"strconv"
	"strings"
)

// Command is a command line that a shell reads as these words.
func Command(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Word(w)
	}
	return strings.Join(quoted, " ")
}

// Word is s as one word of a shell, with nothing in it that a terminal would obey.
func Word(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-/=:,@+%", c)
	}
	switch {
	case s != "" && strings.TrimFunc(s, plain) == "":
		return s
	case strings.ContainsFunc(s, func(c rune) bool { return !strconv.IsPrint(c) }):
		return "$" + "'" + strings.ReplaceAll(strings.Trim(strconv.QuoteToASCII(s), `"`), "'", `\'`) + "'"
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
