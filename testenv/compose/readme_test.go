package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is to be typed, and to be seen, is in the shell blocks of the section, and nowhere else.
func TestCommandsOfSection(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "doc.md")
	text := "# Doc\n\n## Before\n\n```sh\nno\n```\n\n## This one\n\nText.\n\n" +
		"```sh\nup --wait   # a remark\n\nask x       # -> 403 no\n```\n\n" +
		"```yaml\nno: no\n```\n\n```sh\nask 'a#b'\n```\n\n## After\n\n```sh\nno\n```\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := commandsOf(file, "This one")
	if err != nil {
		t.Fatal(err)
	}
	want := []command{{"up --wait", ""}, {"ask x", "403 no"}, {"ask 'a#b'", ""}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(command{})); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

// A section without commands is an error: nothing would be tried.
func TestNoCommands(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(file, []byte("# Doc\n\n## Empty\n\nText.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, section := range []string{"Empty", "None"} {
		if got, err := commandsOf(file, section); err == nil {
			t.Errorf("section %q: %v and no error", section, got)
		}
	}
}

// The README has the section, with what the test of it needs to see.
func TestReadmeSection(t *testing.T) {
	t.Parallel()
	commands, err := commandsOf("../../README.md", "In docker-compose")
	if err != nil {
		t.Fatal(err)
	}
	var starts, seen int
	for _, c := range commands {
		if c.starts() {
			starts++
		}
		if c.want != "" {
			seen++
		}
	}
	if starts != 1 || seen < 3 {
		t.Errorf("%d commands start the mesh, want 1; %d say what is to be seen, want denied, permitted and revoked", starts, seen)
	}
}
