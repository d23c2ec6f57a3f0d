package cp_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"koguma/cp"
)

// Every limit has a name of its own, and a row with its value in the reference.
func TestLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../doc/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, l := range cp.Limits() {
		if row := fmt.Sprintf("\n| `%s` | %v | ", l.Name, l); !strings.Contains(string(data), row) {
			t.Errorf("there is no row %q", row)
		}
		if seen[l.Name] || l.Value <= 0 {
			t.Errorf("%s: a second one, or no limit: %v", l.Name, l)
		}
		seen[l.Name] = true
	}
}

// The API tells of them all.
func TestLimitsAreShown(t *testing.T) {
	t.Parallel()
	shown := start(t).rest("GET", "/config", "")
	for _, l := range cp.Limits() {
		if want := fmt.Sprintf(`{"name":%q,"value":%d,"unit":%q}`, l.Name, l.Value, l.Unit); !strings.Contains(shown, want) {
			t.Errorf("there is no %s in %s", want, shown)
		}
	}
}
