package main

import (
	"os"
	"regexp"
	"testing"

	"github.com/spf13/pflag"
)

// Every flag is in doc/reference.md, with its variables.
func TestReference(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../doc/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	new(settings).register(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		row := "(?m)^\\| .*`--" + f.Name + "` \\| "
		if names := variables()[f.Name]; names != nil {
			row += "`" + names[0] + "` \\| "
		}
		if !regexp.MustCompile(row).Match(text) {
			t.Errorf("--%s has no row, or not with its variable", f.Name)
		}
	})
	for flag, names := range variables() {
		for _, name := range names {
			if !regexp.MustCompile("`" + name + "`").Match(text) {
				t.Errorf("%s, of --%s, is not there", name, flag)
			}
		}
	}
}
