package testenv_test

import (
	"testing"

	"koguma/testenv"
)

// The tutorial is what a reader types in one shell, from its first command to its last.
func TestTutorial(t *testing.T) {
	t.Parallel()
	blocks := testenv.Blocks(document(t, "doc/tutorial.md"))
	if len(blocks) < 10 {
		t.Fatalf("the tutorial has %d blocks", len(blocks))
	}
	follow(t, t.TempDir(), blocks)
}
