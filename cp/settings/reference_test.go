package settings_test

import (
	"os"
	"strings"
	"testing"

	"koguma/cp/settings"
)

// What there is to set is in doc/reference.md.
func TestReferenceOfSettings(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../doc/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, v := range settings.Variables() {
		row := "\n| `" + v.Path + "` | `" + v.Name + "` | "
		if strings.Contains(v.Path, "[]") {
			row = "\n| `" + v.Path + "` | | "
		}
		if !strings.Contains(text, row) {
			t.Errorf("setting %s (%s) has no row", v.Path, v.Name)
		}
	}
}
