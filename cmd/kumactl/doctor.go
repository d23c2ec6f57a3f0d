package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"koguma/doctor"
	"koguma/mistake"
	"koguma/policy"
)

func (c *cli) doctorCommand() *cobra.Command {
	var mesh string
	var output choice
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with the control plane and its meshes, and say what to do",
		Long: `Look for what is wrong with the control plane that kumactl speaks to, and with its meshes, and say what to do: whether it
can be reached and who it is, its clock and its store, CAs and certificates, proxies that are away or behind, tokens, signing
keys, and permissions.

Nothing is changed. The code is 0 if no check failed, and 1 if one did. What only administrators may read is not checked for
others. Beside a proxy, kuma-dp doctor looks for what keeps it from connecting.`,
		Example: `  kumactl doctor
  kumactl doctor --mesh default -o json | jq -r '.checks[] | select(.result == "failed") | .name'`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &diagnosis{cli: c, mesh: mesh, now: time.Now()}
			d.run(cmd.Context())
			write := d.report.Write(c.stdout)
			if output.value != "table" {
				write = printAs(c.stdout, output.value, d.report)
			}
			return errors.Join(write, d.report.Err())
		},
	}
	addOutputFlag(cmd, &output)
	cmd.Flags().StringVarP(&mesh, "mesh", "m", "", "only this mesh (default all)")
	return cmd
}

// doctorTime is how long all of it may take.
const doctorTime = 9 * time.Second

// diagnosis is what is known while the checks are made.
type diagnosis struct {
	*cli
	mesh   string // "" is all
	now    time.Time
	report doctor.Report

	cp      *client
	admin   bool // we are one
	open    bool // proxies need no token
	setting settingsSeen
}

func (d *diagnosis) add(checks ...doctor.Check) { d.report.Add(checks...) }

// run makes all checks, as far as there is somebody to ask.
func (d *diagnosis) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	if !d.checkConfiguration() || !d.checkControlPlane(ctx) {
		return
	}
	var warned []string // as each answer may say the same
	d.cp.warn = func(format string, args ...any) {
		if said := fmt.Sprintf(format, args...); !slices.Contains(warned, said) {
			warned = append(warned, said)
			d.add(doctor.Doubt("control plane", "it says: %s", said))
		}
	}
	d.checkRights(ctx)
	d.checkStore(ctx)
	d.checkOthers(ctx)
	d.checkDPServer(ctx)
	d.checkMeshes(ctx)
}

// checkConfiguration finds the control plane to speak to. Unlike other commands, it makes no file where there is none.
func (d *diagnosis) checkConfiguration() bool {
	const name = "configuration"
	cfg, from, err := d.configured()
	if err == nil {
		var t target
		if t, err = cfg.target(d.context); err == nil {
			d.cp, err = d.clientOf(t)
		}
	}
	if err != nil {
		d.add(doctor.Bad(name, "%v", err).
			Fix("kumactl config control-planes list", "kumactl config control-planes add --name NAME --address URL"))
		return false
	}
	context := d.context
	if context == "" {
		context = cfg.CurrentContext
	}
	seen := fmt.Sprintf("context %s of %s: %s", context, from, d.cp.base)
	if mode := readers(from, cfg); mode != 0 {
		d.add(doctor.Doubt(name, "%s; it has headers in it, which others on this machine may read by its mode %04o", seen, mode).
			Fix(mistake.Command("chmod", "600", from)))
		return true
	}
	d.add(doctor.Good(name, "%s", seen))
	return true
}

// configured is the configuration, and where it is from.
func (d *diagnosis) configured() (cfg *config, from string, err error) {
	if d.noConfig {
		return defaultConfig(), "no configuration", nil
	}
	path, byDefault, err := d.configPath()
	if err != nil {
		return nil, "", err
	}
	cfg, err = loadConfig(path)
	if errors.Is(err, fs.ErrNotExist) && byDefault {
		return defaultConfig(), "no configuration, as there is no " + path, nil
	}
	return cfg, path, err
}

// checkMeshes looks at the mesh that was named, or at all.
func (d *diagnosis) checkMeshes(ctx context.Context) {
	const name = "meshes"
	names := []string{d.mesh}
	if d.mesh == "" {
		found, err := allPages[policy.Meta](ctx, d.cp, "/meshes")
		if err != nil {
			d.add(doctor.Bad(name, "%v", err))
			return
		}
		names = names[:0]
		for i := range found {
			names = append(names, found[i].Name)
		}
	}
	if len(names) == 0 {
		d.add(doctor.Doubt(name, "there is none").Fix("kumactl apply -f - with a resource of type Mesh"))
	}
	kind, _ := policy.KindOf(policy.TypeMesh)
	for _, n := range names {
		r, err := d.cp.get(ctx, kind, "", n)
		if err != nil {
			d.add(doctor.Bad("mesh "+n, "%v", err))
			continue
		}
		m := &meshDiagnosis{diagnosis: d, mesh: r.(*policy.Mesh), version: d.cp.version}
		m.run(ctx)
	}
}
