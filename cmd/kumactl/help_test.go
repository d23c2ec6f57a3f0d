package main

import (
	"io"
	"testing"

	"github.com/spf13/cobra"

	"koguma/testenv/helptest"
)

func TestHelp(t *testing.T) {
	t.Parallel()
	helptest.Check(t, func() *cobra.Command {
		return (&cli{stdout: io.Discard, stderr: io.Discard}).rootCommand()
	})
}
