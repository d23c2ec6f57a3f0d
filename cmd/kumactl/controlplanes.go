package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) configCommand() *cobra.Command {
	view := &cobra.Command{
		Use:   "view",
		Short: "Print the configuration",
		Long: `Print the configuration: the control planes that kumactl knows, and which of them it speaks to. Values of headers may be
credentials, and are left out.`,
		Example: "  kumactl config view",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := c.readConfig()
			if err != nil {
				return err
			}
			for i := range cfg.ControlPlanes {
				for j := range cfg.ControlPlanes[i].Coordinates.APIServer.Headers {
					cfg.ControlPlanes[i].Coordinates.APIServer.Headers[j].Value = "***" // it may be a credential
				}
			}
			return printAs(c.stdout, "yaml", cfg)
		},
	}
	planes := group("control-planes", "Manage the control planes that kumactl knows",
		c.addControlPlane(), c.listControlPlanes(), c.switchControlPlane(), c.removeControlPlane())
	planes.Long = `Manage the control planes that kumactl knows. One of them is the active one, to which all commands speak; --context names
another for once.`
	cmd := group("config", "Manage the configuration of kumactl", planes, view)
	cmd.Long = `Manage the configuration of kumactl, the file $HOME/.kumactl/config: which control planes there are, and how to come in.`
	return cmd
}

func (c *cli) listControlPlanes() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the control planes",
		Long: `List the control planes that kumactl knows. The active one, to which commands speak, has an asterisk. None of them is asked
whether it is there.`,
		Example: "  kumactl config control-planes list",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := c.readConfig()
			if err != nil {
				return err
			}
			t := table{header: []string{"ACTIVE", "NAME", "ADDRESS"}}
			active := cfg.active()
			for i := range cfg.ControlPlanes {
				cp, mark := &cfg.ControlPlanes[i], ""
				if cp == active {
					mark = "*"
				}
				t.rows = append(t.rows, []string{mark, cp.Name, cp.Coordinates.APIServer.URL})
			}
			return t.write(c.stdout)
		},
	}
}

func (c *cli) switchControlPlane() *cobra.Command {
	const long = `Make another control plane the active one: all commands after this speak to it. It has to be in the list.`
	return c.changeControlPlane("switch", "Make another control plane the active one", long, func(cfg *config, name string) (string, error) {
		return fmt.Sprintf("switched active Control Plane to %q", name), cfg.use(name)
	})
}

func (c *cli) removeControlPlane() *cobra.Command {
	const long = `Forget a control plane. Nothing happens to it, nor to files with keys and certificates. If it was the active one, the first
that is left is.`
	return c.changeControlPlane("remove", "Forget a control plane", long, func(cfg *config, name string) (string, error) {
		cfg.remove(name)
		if active := cfg.active(); active != nil {
			return fmt.Sprintf("removed Control Plane %q\nactive Control Plane is %q", name, active.Name), nil
		}
		return fmt.Sprintf("removed Control Plane %q\nno Control Plane is left: 'kumactl config control-planes add' adds one", name), nil
	})
}

// changeControlPlane is a command that changes the configuration by the name of a control plane and says what it did.
func (c *cli) changeControlPlane(use, short, long string, change func(*config, string) (string, error)) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    long,
		Example: "  kumactl config control-planes " + use + " --name prod",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var done string
			err := c.changeConfig(func(cfg *config) (err error) {
				if cfg.controlPlane(name) == nil {
					return fmt.Errorf("there is no Control Plane with name %q", name)
				}
				done, err = change(cfg, name)
				return err
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.stdout, done)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the control plane (required)")
	require(cmd, "name")
	return cmd
}
