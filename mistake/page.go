package mistake

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Page is the entry in Markdown, as it stands in doc/errors.
func (e Entry) Page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n\n%s\n\n**Next:**\n\n```\n%s\n```\n", e.Code, e.Title, wrap("**Cause:** "+e.Cause+"."), strings.Join(e.Next, "\n"))
	for _, paragraph := range e.More {
		fmt.Fprintf(&b, "\n%s\n", wrap(paragraph))
	}
	return b.String()
}

// wrap breaks a paragraph into lines of at most 100 characters. One with code in it stays as it is.
func wrap(paragraph string) string {
	if strings.Contains(paragraph, "```") {
		return paragraph
	}
	var b strings.Builder
	width := 0
	for i, word := range strings.Fields(paragraph) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case width+1+n > 100:
			b.WriteByte('\n')
			width = 0
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += n
	}
	return b.String()
}

// Index is the page that leads to all others.
func Index() string {
	var b strings.Builder
	b.WriteString("# Errors\n\nThe last lines of an error say its cause, what to do next, and its code. In the log these are `code` and `next`.\n" +
		"`kumactl explain CODE` prints the page of a code.\n")
	group := ""
	for _, e := range Catalogue() {
		if g := heading(e.Code); g != group {
			group = g
			fmt.Fprintf(&b, "\n## %s\n\n", g)
		}
		fmt.Fprintf(&b, "- [%s](%[1]s.md): %s\n", e.Code, e.Title)
	}
	return b.String()
}

// heading is what the mistakes of a hundred have in common.
func heading(c Code) string {
	switch c[:4] {
	case "KG01":
		return "Tokens"
	case "KG02":
		return "From the proxy to the control plane"
	case "KG03":
		return "The proxy"
	}
	return "The control plane and kumactl"
}
