package mistake_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/mistake"
)

var update = flag.Bool("update", false, "write doc/errors anew")

const folder = "../doc/errors"

// Each mistake has a page that says what the catalogue says, and there is no other page.
func TestPages(t *testing.T) {
	t.Parallel()
	want := map[string]string{"README.md": mistake.Index()}
	for _, e := range mistake.Catalogue() {
		want[string(e.Code)+".md"] = e.Page()
	}
	if *update {
		write(t, want)
	}
	found, err := filepath.Glob(folder + "/*")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got[filepath.Base(path)] = string(text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("doc/errors is not what the catalogue says (-want +got); write it anew with: go test ./mistake -update\n%s", diff)
	}
}

func write(t *testing.T, pages map[string]string) {
	t.Helper()
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// No code is there twice, and each entry says all that there is to say.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	all := mistake.Catalogue()
	if len(all) < 15 {
		t.Errorf("%d mistakes; at least 15 were promised", len(all))
	}
	if !slices.IsSortedFunc(all, func(a, b mistake.Entry) int { return strings.Compare(string(a.Code), string(b.Code)) }) {
		t.Error("they are not in the order of their codes")
	}
	seen := map[mistake.Code]bool{}
	for _, e := range all {
		if seen[e.Code] {
			t.Errorf("%s is there twice", e.Code)
		}
		seen[e.Code] = true
		if !regexp.MustCompile(`^KG0[1-9]\d\d$`).MatchString(string(e.Code)) {
			t.Errorf("%q is no code", e.Code)
		}
		if e.Title == "" || e.Cause == "" || len(e.Next) == 0 || len(e.More) == 0 {
			t.Errorf("%s says too little: %+v", e.Code, e)
		}
		if strings.HasSuffix(e.Title, ".") || strings.HasSuffix(e.Cause, ".") || strings.Contains(e.Cause, "\n") {
			t.Errorf("%s: title and cause are a line each, without a full stop", e.Code)
		}
		if got, ok := mistake.Find(strings.ToLower(string(e.Code))); !ok || got.Title != e.Title {
			t.Errorf("%s is not found", e.Code)
		}
	}
	if _, ok := mistake.Find("KG0199"); ok {
		t.Error("KG0199 is found")
	}
}

// Each code that is declared is in the catalogue, and is given to an error somewhere in the programs.
func TestEachCodeIsUsed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("catalogue.go")
	if err != nil {
		t.Fatal(err)
	}
	unused := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\w+)\s+Code = "(\w+)"$`).FindAllStringSubmatch(string(text), -1) {
		unused[m[1]] = m[2]
	}
	if len(unused) != len(mistake.Catalogue()) {
		t.Errorf("%d codes are declared, and %d in the catalogue", len(unused), len(mistake.Catalogue()))
	}
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		maps.DeleteFunc(unused, func(name, _ string) bool { return strings.Contains(string(text), "mistake."+name) })
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(unused) > 0 {
		t.Errorf("no error has these: %v", unused)
	}
}

// What is printed below an error has its cause, what to do here, and where there is more.
func TestExplain(t *testing.T) {
	t.Parallel()
	was := errors.New("it ended")
	err := fmt.Errorf("web-1: %w", mistake.New(mistake.TokenExpired, was, "make one", "", "use it"))
	if got, want := err.Error(), "web-1: it ended"; got != want {
		t.Errorf("the error says %q, want %q", got, want)
	}
	want := `  cause: a token is good until the end that it was made with, and that is over by the clock here
  next:  make one
         use it
  KG0103: kumactl explain KG0103, or doc/errors/KG0103.md
`
	if diff := cmp.Diff(want, mistake.Explain(err)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]any{"code", "KG0103", "next", "make one; use it"}, mistake.Attrs(err)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !errors.Is(err, was) {
		t.Error("what it was made from is lost")
	}
}

// Without commands of its own a mistake has those of the catalogue; an error that has a code keeps it, and no error stays none.
func TestNew(t *testing.T) {
	t.Parallel()
	first := mistake.New(mistake.StoreInUse, errors.New("locked"))
	m, ok := mistake.Of(mistake.New(mistake.ServerPort, fmt.Errorf("start: %w", first)))
	if !ok || m.Code != mistake.StoreInUse {
		t.Errorf("another code: %+v", m)
	}
	if e, _ := mistake.Find("KG0402"); cmp.Diff(e.Next, m.Next()) != "" || m.Cause() != e.Cause {
		t.Errorf("it says %q, %q", m.Cause(), m.Next())
	}
	if err := mistake.New(mistake.ServerPort, nil); err != nil {
		t.Errorf("no error became %v", err)
	}
	if got := mistake.Explain(errors.New("whatever")); got != "" || mistake.Attrs(nil) != nil {
		t.Errorf("of an unknown error it says %q", got)
	}
}

// A shell reads each word as it was, and a terminal sees nothing that it would obey.
func TestCommand(t *testing.T) {
	t.Parallel()
	words := []string{"a", "", "it's", "a b", "$HOME", "`id`", "x;y", "\x1b[31m'", "tab\there", "é", "-", `back\slash`, "~", "*", "#"}
	line := mistake.Command(words...)
	if strings.ContainsAny(line, "\x1b\t\n") {
		t.Errorf("%q has something that a terminal obeys", line)
	}
	out, err := exec.Command("bash", "-c", `printf '%s\0' `+line).Output()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(words, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")); diff != "" {
		t.Errorf("%s is read otherwise (-want +got)\n%s", line, diff)
	}
}
