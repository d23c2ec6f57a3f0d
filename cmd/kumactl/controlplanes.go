package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) configCommand() *cobra.Command {
	view := &cobra.Command{
		Use:   "view",
		Short: "Print the configuration",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := c.readConfig()
			if err != nil {
				return err
			}
			return printAs(c.stdout, "yaml", cfg)
		},
	}
	planes := group("control-planes", "Manage the control planes that kumactl knows",
		c.addControlPlane(), c.listControlPlanes(), c.switchControlPlane(), c.removeControlPlane())
	return group("config", "Manage the configuration of kumactl", planes, view)
}

func (c *cli) addControlPlane() *cobra.Command {
	var name, address string
	var overwrite, skipCheck bool
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a control plane and make it the active one",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.readConfig()
			if err != nil {
				return err
			}
			if _, err := parseAddress(address); err != nil {
				return err
			}
			if cfg.controlPlane(name) != nil && !overwrite {
				return fmt.Errorf("there is a control plane %q already: --overwrite puts this one in its place", name)
			}
			if !skipCheck {
				if err := c.checkControlPlane(cmd.Context(), address); err != nil {
					return fmt.Errorf("%w (--skip-check adds it unseen)", err)
				}
			}
			cfg.add(name, address)
			if err := c.writeConfig(cfg); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "added Control Plane %q\nswitched active Control Plane to %q\n", name, name)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", "what to call the control plane (required)")
	flags.StringVar(&address, "address", "", "the URL of its API, such as "+defaultAddress+" (required)")
	flags.BoolVar(&overwrite, "overwrite", false, "take the place of the control plane that has this name")
	flags.BoolVar(&skipCheck, "skip-check", false, "do not ask whether a control plane answers there")
	require(cmd, "name", "address")
	return cmd
}

// checkControlPlane asks at the address whether it is one of ours.
func (c *cli) checkControlPlane(ctx context.Context, address string) error {
	cp, err := c.clientOf(address)
	if err != nil {
		return err
	}
	server, err := cp.index(ctx)
	if err != nil {
		return err
	}
	if server.Product != product {
		return fmt.Errorf("%s is no control plane of a mesh: it calls itself %q", address, server.Product)
	}
	return nil
}

func (c *cli) listControlPlanes() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the control planes",
		Args:  cobra.NoArgs,
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
	return c.changeControlPlane("switch", "Make another control plane the active one", func(cfg *config, name string) (string, error) {
		return fmt.Sprintf("switched active Control Plane to %q", name), cfg.use(name)
	})
}

func (c *cli) removeControlPlane() *cobra.Command {
	return c.changeControlPlane("remove", "Forget a control plane", func(cfg *config, name string) (string, error) {
		cfg.remove(name)
		if active := cfg.active(); active != nil {
			return fmt.Sprintf("removed Control Plane %q\nactive Control Plane is %q", name, active.Name), nil
		}
		return fmt.Sprintf("removed Control Plane %q\nno Control Plane is left: 'kumactl config control-planes add' adds one", name), nil
	})
}

// changeControlPlane is a command that changes the configuration by the name of a control plane and says what it did.
func (c *cli) changeControlPlane(use, short string, change func(*config, string) (string, error)) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := c.readConfig()
			if err != nil {
				return err
			}
			if cfg.controlPlane(name) == nil {
				return fmt.Errorf("there is no Control Plane with name %q", name)
			}
			done, err := change(cfg, name)
			if err != nil {
				return err
			}
			if err := c.writeConfig(cfg); err != nil {
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
