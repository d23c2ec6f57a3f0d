package testenv_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	linkTo      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	ownAnchor   = regexp.MustCompile(`<a id="([^"]+)">`)
	goFile      = regexp.MustCompile("`([a-z0-9_/-]+/[a-z0-9_]+\\.go)`")
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_ -]`) // of a heading is in its anchor
)

// Links lead to files and headings that there are, and the files that are named are there.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	t.Parallel()
	var documents []string
	for _, pattern := range []string{"README.md", "doc/*.md", "doc/*/*.md"} {
		found, err := filepath.Glob("../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, found...)
	}
	if len(documents) < 8 {
		t.Fatalf("there are only %q", documents)
	}
	for _, path := range documents {
		text := document(t, strings.TrimPrefix(path, "../"))
		for _, m := range linkTo.FindAllStringSubmatch(text, -1) {
			target, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := path
			if target != "" {
				file = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: there is no %s", path, m[1])
			} else if heading != "" && !anchors(document(t, strings.TrimPrefix(file, "../")))[heading] {
				t.Errorf("%s: there is no heading %s", path, m[1])
			}
		}
		for _, m := range goFile.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat("../" + m[1]); err != nil {
				t.Errorf("%s: there is no file %s", path, m[1])
			}
		}
	}
}

// anchors are what a link into a document may name: its headings, and the anchors that it has itself.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range ownAnchor.FindAllStringSubmatch(text, -1) {
		all[m[1]] = true
	}
	code := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if title := strings.TrimLeft(line, "#"); !code && title != line {
			all[strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")] = true
		}
	}
	return all
}
