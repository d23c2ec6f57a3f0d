package testenv_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// document is a file of the repository, named from its root.
func document(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile("../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// follow types in a folder what the blocks say, and expects what they say.
func follow(t *testing.T, dir string, blocks []testenv.Block) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	printed, err := testenv.Session(ctx, dir, blocks)
	if err != nil {
		t.Error(err)
	}
	for i, out := range printed {
		if err := blocks[i].Check(out); err != nil {
			t.Error(err)
		}
	}
	if !t.Failed() || len(printed) == 0 {
		return
	}
	t.Logf("the first block, with what it started:\n%s", printed[0])
	for _, name := range []string{"kuma-cp.log", "web.log", "backend.log"} {
		if log, missing := os.ReadFile(dir + "/" + name); missing == nil {
			t.Logf("%s:\n%s", name, log)
		}
	}
}

func TestBlocksOfADocument(t *testing.T) {
	t.Parallel()
	blocks := testenv.Blocks("# Title\n\n```\nnot run\n```\n\n```sh\nfirst\n```\n```\nsaid\n```\n\n```sh\nsecond\n\nthird\n```\n\nText.\n\n```\nno output\n```\n")
	want := []testenv.Block{{Line: 8, Commands: "first\n", Output: "said\n"}, {Line: 15, Commands: "second\n\nthird\n"}}
	if len(blocks) != 2 || blocks[0] != want[0] || blocks[1] != want[1] {
		t.Errorf("blocks %+v, want %+v", blocks, want)
	}
}

func TestWhatABlockPrintsIsCompared(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, output, printed string
		ok                    bool
	}{
		{"nothing is said", "", "anything\n", true},
		{"the same", "a b\nc\n", "a b\nc\n", true},
		{"wider columns", "NAME   AGE\n", "NAME           AGE  \n", true},
		{"a part left out", "since ... (1s)\n", "since today (1s)\n", true},
		{"lines left out", "a\n...\nb\n", "a\nx\ny\nb\n", true},
		{"no lines to leave out", "a\n...\nb\n", "a\nb\n", true},
		{"another word", "a b\n", "a c\n", false},
		{"a line more", "a\n", "a\nb\n", false},
		{"a line less", "a\nb\n", "a\n", false},
		{"a line more than one left out", "a ...\n", "a b\nc\n", false},
		{"a dot is a dot", "a.b\n", "axb\n", false},
	}
	for _, tt := range tests {
		if err := (testenv.Block{Output: tt.output}).Check(tt.printed); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestASessionEndsAtTheFirstCommandThatFails(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	printed, err := testenv.Session(ctx, t.TempDir(), []testenv.Block{
		{Line: 1, Commands: "x=handed-on\nsleep 60 &\n"},
		{Line: 5, Commands: "echo $x\nkumactl get nonsense\necho never\n"},
		{Line: 9, Commands: "echo never\n"},
	})
	if len(printed) != 2 || !strings.HasPrefix(printed[1], "handed-on\n") || strings.Contains(printed[1], "never") {
		t.Errorf("printed %q", printed)
	}
	if want := regexp.MustCompile(`(?s)^line 5: .*failed and printed:.*kumactl get nonsense: exit code 2`); err == nil || !want.MatchString(err.Error()) {
		t.Errorf("error %v, want %v", err, want)
	}
}
