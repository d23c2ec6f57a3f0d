package testenv_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each row of the threat model names tests that there are, or says why there is none, and says what is left.
func TestThreatsHaveTests(t *testing.T) {
	t.Parallel()
	_, rows, found := strings.Cut(document(t, "doc/threats.md"), "\n## What is done\n")
	if !found {
		t.Fatal("doc/threats.md does not say what is done")
	}
	rooms := map[string]map[string]bool{}
	n := 0
	for line := range strings.Lines(rows) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || strings.Contains(line, "|---|") || strings.HasPrefix(line, "| | threat ") {
			continue
		}
		if n++; len(cells) != 5 || slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) == "" }) {
			t.Errorf("a row of %d cells, or with an empty one: %s", len(cells), line)
			continue
		}
		for name := range strings.SplitSeq(strings.TrimSpace(cells[3]), ", ") {
			if why, none := strings.CutPrefix(cells[3], "none"); none {
				if !strings.HasPrefix(why, ": ") {
					t.Errorf("%s does not say why there is no test: %q", cells[0], cells[3])
				}
				break
			}
			room, test, _ := strings.Cut(name, ".")
			if rooms[room] == nil {
				rooms[room] = tests(t, filepath.Join("..", room))
			}
			if !rooms[room][test] {
				t.Errorf("row %s: %s has no test %q", strings.TrimSpace(cells[0]), room, test)
			}
		}
	}
	if n < 40 {
		t.Errorf("%d threats, looked at in %v", n, slices.Sorted(maps.Keys(rooms)))
	}
}

// tests are the names of the tests in a folder and below it: functions, and for TestScript each of its scripts.
func tests(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if script, ok := strings.CutSuffix(path, ".txtar"); ok {
			names["TestScript/"+filepath.Base(script)] = true
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && (strings.HasPrefix(fn.Name.Name, "Test") || strings.HasPrefix(fn.Name.Name, "Fuzz")) {
				names[fn.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return names
}
