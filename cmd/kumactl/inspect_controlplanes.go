package main

import (
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
)

func (c *cli) inspectControlPlanes() *cobra.Command {
	var output choice
	cmd := &cobra.Command{
		Use:   "control-planes",
		Short: "Show the control planes that share the store",
		Long: `Show the control planes that share the store, as the one that is asked sees them.

STATUS is self for that one. Others are heard while they tell it of their proxies. One that is unheard does not answer: it
may have proxies in any state, so what waits for all proxies waits for it, until its lease in the store has ended.`,
		Example:           "  kumactl inspect control-planes",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cp, err := c.client()
			if err != nil {
				return err
			}
			var all policy.ControlPlanes
			if _, err := cp.call(cmd.Context(), http.MethodGet, "/control-planes", nil, nil, &all); err != nil {
				return err
			}
			if output.value != "table" {
				return printAs(c.stdout, output.value, all)
			}
			return controlPlaneTable(&all, time.Now()).write(c.stdout)
		},
	}
	addOutputFlag(cmd, &output)
	return cmd
}

func controlPlaneTable(all *policy.ControlPlanes, now time.Time) *table {
	t := &table{header: []string{"INSTANCE", "ADDRESS", "STATUS", "SINCE", "PROXIES", "VERSION"}}
	for _, o := range all.Items {
		address := o.Address
		if address == "" {
			address = "-"
		}
		t.rows = append(t.rows, []string{o.InstanceID, address, o.Status, age(o.Since, now), strconv.Itoa(o.Proxies), o.Version})
	}
	return t
}
