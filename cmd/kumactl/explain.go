package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"koguma/mistake"
)

func (c *cli) explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [CODE]",
		Short: "Explain an error by its code",
		Long: "Explain an error by its code: what happened, why, and what to do next. Without a code, list all there are.\n\n" +
			"The code is in the last line of an error, and in the log as code.",
		Example: "  kumactl explain KG0103",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				t := table{header: []string{"CODE", "WHAT"}}
				for _, e := range mistake.Catalogue() {
					t.rows = append(t.rows, []string{string(e.Code), e.Title})
				}
				return t.write(c.stdout)
			}
			e, ok := mistake.Find(args[0])
			if !ok {
				return fmt.Errorf("there is no code %q: 'kumactl explain' lists those there are", args[0])
			}
			_, err := fmt.Fprint(c.stdout, e.Page())
			return err
		},
	}
	cmd.ValidArgsFunction = func(_ *cobra.Command, _ []string, begin string) (codes []cobra.Completion, _ cobra.ShellCompDirective) {
		for _, e := range mistake.Catalogue() {
			if code := string(e.Code); strings.HasPrefix(code, strings.ToUpper(begin)) {
				codes = append(codes, cobra.CompletionWithDesc(code, e.Title))
			}
		}
		return codes, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}
