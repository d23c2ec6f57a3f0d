package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/testenv/helptest"
)

func TestHelp(t *testing.T) {
	t.Parallel()
	helptest.Check(t, newRootCommand)
}

// There is a script for each shell, and what it asks for.
func TestCompletion(t *testing.T) {
	t.Parallel()
	run := func(args ...string) string {
		var out bytes.Buffer
		if code := execute(t.Context(), args, &out, io.Discard); code != 0 {
			t.Errorf("%q: code %d", args, code)
		}
		return out.String()
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if script := run("completion", shell); !strings.Contains(script, "kuma-cp") {
			t.Errorf("%s: %q", shell, script)
		}
	}
	levels := []string{"debug", "info", "warn", "error"}
	if got, _ := helptest.Offered(t, run, "run", "--log-level", ""); !cmp.Equal(got, levels) {
		t.Errorf("offered %q", got)
	}
	if _, files := helptest.Offered(t, run, "run", "-c", ""); !files {
		t.Error("no files are offered")
	}
}
