package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// exampleOfGroups gives each command that only holds others, and has no example of its own, the first of each of those.
func exampleOfGroups(cmd *cobra.Command) {
	var all []string
	for _, sub := range cmd.Commands() {
		exampleOfGroups(sub)
		all = append(all, firstExample(sub.Example)...)
	}
	if cmd.Example == "" {
		cmd.Example = strings.Join(all, "\n")
	}
}

// firstExample is the lines of the first command.
func firstExample(text string) (lines []string) {
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimRight(line, " ")
		if trimmed := strings.TrimSpace(line); trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		lines = append(lines, line)
		if !strings.HasSuffix(line, `\`) {
			break
		}
	}
	return lines
}
