// Package helptest says whether the help of a program teaches how to use it.
package helptest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Check goes through all commands of a program. Each says in one line what it does, and in some more what that is and what it is
// for, and has an example, which is a command line that it would take. program makes the program anew.
func Check(t *testing.T, program func() *cobra.Command) {
	t.Helper()
	walk(program(), func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		switch {
		case cmd.Short == "" || strings.HasSuffix(cmd.Short, "."):
			t.Errorf("%s: short: %q", path, cmd.Short)
		case !cmd.HasSubCommands() && len(cmd.Long) < len(cmd.Short)+20:
			t.Errorf("%s has no long text", path)
		}
		for line := range strings.SplitSeq(cmd.Long, "\n") {
			if len(line) > 130 {
				t.Errorf("%s: the line is too long: %s", path, line)
			}
		}
		own := false
		for _, words := range commandLines(cmd.Example) {
			if words[0] != cmd.Root().Name() {
				continue // what goes with it
			}
			of, err := try(program(), words)
			if err != nil {
				t.Errorf("%s: example %q: %v", path, strings.Join(words, " "), err)
			}
			own = own || of == path || strings.HasPrefix(of, path+" ")
		}
		if !own {
			t.Errorf("%s has no example of its own", path)
		}
	})
}

// walk calls f for all commands but those that are of the library, or hidden.
func walk(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, sub := range cmd.Commands() {
		if !sub.Hidden && sub.Name() != "completion" && sub.Name() != "help" {
			walk(sub, f)
		}
	}
}

// commandLines are the words of each command of an example, without what the shell does with them.
func commandLines(example string) (all [][]string) {
	for line := range strings.SplitSeq(strings.ReplaceAll(example, "\\\n", " "), "\n") {
		var words []string
		for _, w := range strings.Fields(line) {
			if strings.ContainsAny(w[:1], "#|<>&;") {
				break
			}
			if name, _, ok := strings.Cut(w, "="); ok && words == nil && name == strings.ToUpper(name) {
				continue // a variable of the environment
			}
			words = append(words, strings.Trim(w, `'"`))
		}
		if words != nil {
			all = append(all, words)
		}
	}
	return all
}

// try says which command of a program a command line is for, and why that would not take it.
func try(root *cobra.Command, words []string) (path string, err error) {
	cmd, rest, err := root.Find(words[1:])
	if err != nil {
		return "", err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return cmd.CommandPath(), err
	}
	return cmd.CommandPath(), errors.Join(cmd.ValidateArgs(cmd.Flags().Args()), cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups())
}

// Offered is what a shell offers after these words, the last of which has only begun, without descriptions, of what begins so;
// and whether it offers files, too.
func Offered(t *testing.T, run func(args ...string) (stdout string), words ...string) (offered []string, files bool) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(run(slices.Insert(words, 0, cobra.ShellCompNoDescRequestCmd)...)), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, ":") {
		t.Fatalf("no directive at the end of %q", lines)
	}
	fit := slices.DeleteFunc(lines[:len(lines)-1], func(w string) bool { return !strings.HasPrefix(w, words[len(words)-1]) })
	return fit, last == ":0"
}
