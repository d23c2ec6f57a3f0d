package api_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"koguma/cp/api"
)

// What there is to call is in doc/reference.md.
func TestReferenceOfRoutes(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../doc/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, r := range api.Routes() {
		who := "administrators"
		if r.Open() {
			who = "everybody"
		}
		route := "`" + r.Method + " " + strings.TrimSuffix(r.Path, "{$}") + "`"
		if !regexp.MustCompile(`(?m)^\| .*` + regexp.QuoteMeta(route) + `.* \| ` + who + ` \| `).MatchString(text) {
			t.Errorf("route %s for %s has no row", route, who)
		}
	}
}
