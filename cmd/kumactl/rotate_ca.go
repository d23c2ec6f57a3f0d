package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
)

func (c *cli) rotateCA() *cobra.Command {
	r := &caRotation{cli: c}
	var mesh string
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Replace the certificate authority of a mesh",
		Long: `Replace the certificate authority of a mesh by another that is in its mtls.backends, in stages:

  trust-both   the new one is trusted beside the old one, until every proxy has acknowledged that
  issue        the new one signs, and the old one is trusted until no certificate of it is in use
  drop         only the new one is trusted, until every proxy has acknowledged that
  settled      done

The control plane does this by itself once it has begun, also after a restart. A proxy that is not connected is waited
for until it is back or its certificate has ended; kumactl inspect mesh names it.`,
		Example: `  kumactl rotate ca --mesh default --to ca-2 --wait
  kumactl rotate ca --mesh default --abort   # back to the old one, while that is trusted
  kumactl rotate ca --mesh default --force   # pass the stage without those that it waits for, which are cut off`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.do == (policy.Rotate{}) && !r.wait {
				return errors.New("say --to BACKEND, --abort or --force; or --wait alone, to see how a rotation goes on")
			}
			var err error
			if r.cp, r.path, err = c.inMesh(mesh); err != nil {
				return err
			}
			return r.run(cmd.Context())
		},
	}
	addMeshFlag(cmd, &mesh)
	flags := cmd.Flags()
	flags.StringVar(&r.do.To, "to", "", "the backend that is to sign")
	flags.BoolVar(&r.do.Abort, "abort", false, "go back to the backend that the rotation began from")
	flags.BoolVar(&r.do.Force, "force", false, "pass the stage that the rotation is in without those that it waits for, which are cut off")
	flags.BoolVar(&r.wait, "wait", false, "wait until it is done, and show each stage, and who is waited for")
	flags.DurationVar(&r.timeout, "timeout", 10*time.Minute, "how long to wait (0: forever)")
	cmd.MarkFlagsMutuallyExclusive("abort", "to")
	cmd.MarkFlagsMutuallyExclusive("abort", "force")
	return cmd
}

// caRotation has the CA of a mesh replaced, and shows how it goes.
type caRotation struct {
	*cli
	cp      *client
	path    string // of the mesh
	do      policy.Rotate
	wait    bool
	timeout time.Duration
}

// restTrust is how often it is looked how the rotation goes.
const restTrust = 250 * time.Millisecond

func (r *caRotation) run(ctx context.Context) error {
	v, err := r.cp.trust(ctx, r.path)
	if err != nil {
		return err
	}
	to := v.Enabled
	switch {
	case r.do.Abort:
		to = v.From
	case r.do.To != "":
		to = r.do.To
	}
	if r.do != (policy.Rotate{}) {
		if _, err := r.cp.call(ctx, http.MethodPost, r.path+"/trust/rotate", nil, r.do, &v); err != nil {
			return err
		}
	}
	if r.wait {
		return r.follow(ctx, to)
	}
	_, err = fmt.Fprintf(r.stdout, "mesh %q goes to %s; see kumactl inspect mesh %s, or kumactl rotate ca --mesh %s --wait\n", v.Mesh, to, v.Mesh, v.Mesh)
	return err
}

// trust is whom a mesh trusts.
func (c *client) trust(ctx context.Context, path string) (v policy.TrustOverview, err error) {
	_, err = c.call(ctx, http.MethodGet, path+"/trust", nil, nil, &v)
	return v, err
}

// follow shows each stage and who is waited for, until the mesh has settled on that backend. A control plane that does
// not answer is asked again.
func (r *caRotation) follow(ctx context.Context, to string) error {
	deadline := time.Now().Add(r.timeout)
	var shown, waited string
	var last policy.TrustOverview
	var failed error
	for {
		v, err := r.cp.trust(ctx, r.path)
		if err == nil {
			last, failed = v, nil
			if line := describeStage(&v); line != shown && v.Enabled == to {
				shown = line
				fmt.Fprintf(r.stdout, "%s  %s\n", v.Since.UTC().Format(time.TimeOnly), printable(line))
			}
			if names := waitingFor(v.WaitsFor); names != waited && time.Since(v.Since) > time.Second {
				waited = names
				r.showWaits(v.WaitsFor)
			}
			if v.Stage == policy.StageSettled && v.Enabled == to && v.Issuing == to && len(v.WaitsFor) == 0 {
				return nil
			}
			if v.Enabled == "" {
				return fmt.Errorf("mTLS is off in mesh %q", v.Mesh)
			}
		} else if _, refused := errors.AsType[*problem](err); refused || ctx.Err() != nil {
			return err
		} else if failed == nil {
			failed = err
			r.warn("%v; trying again", err)
		}
		if r.timeout > 0 && !time.Now().Before(deadline) {
			return r.late(&last, failed)
		}
		select {
		case <-time.After(restTrust):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *caRotation) showWaits(waits []policy.Blocker) {
	for _, b := range waits {
		fmt.Fprintf(r.stdout, "          waits for %s\n", printable(describeBlocker(b)))
	}
}

// late says where the rotation is when there is no more time, and who is waited for.
func (r *caRotation) late(v *policy.TrustOverview, failed error) error {
	if failed != nil {
		return fmt.Errorf("the rotation was not done after %v: %w", r.timeout, failed)
	}
	var waits strings.Builder
	for _, b := range v.WaitsFor {
		waits.WriteString(bullet("", describeBlocker(b)))
	}
	back := ""
	if v.Stage != policy.StageDrop && v.From != "" {
		back = "; --abort goes back"
	}
	return fmt.Errorf("the rotation was not done after %v: mesh %q is in stage %s, and waits for%s\nIt goes on by itself. "+
		"kumactl rotate ca --mesh %s --force passes this stage without them, which cuts them off%s",
		r.timeout, v.Mesh, v.Stage, waits.String(), v.Mesh, back)
}

func describeBlocker(b policy.Blocker) string {
	if b.Proxy == "" {
		return b.Why
	}
	return b.Proxy + ": " + b.Why
}

// describeStage says what a stage means: "issue: ca-2 signs; ca-1 is trusted while certificates of it are in use".
func describeStage(v *policy.TrustOverview) string {
	var trusted, others []string
	for _, a := range v.Authorities {
		trusted = append(trusted, a.Backend)
		if !a.Issuing {
			others = append(others, a.Backend)
		}
	}
	text := fmt.Sprintf("%s signs, and nothing else is trusted", v.Issuing)
	switch v.Stage {
	case policy.StageTrustBoth:
		text = fmt.Sprintf("%s are trusted; %s signs", strings.Join(trusted, " and "), v.Issuing)
	case policy.StageIssue:
		text = fmt.Sprintf("%s signs; %s is trusted while certificates of it are in use", v.Issuing, strings.Join(others, " and "))
	case policy.StageDrop:
		text = fmt.Sprintf("only %s is trusted; it is waited until every proxy has taken that", v.Issuing)
	}
	return string(v.Stage) + ": " + text
}

// waitingFor names those that are waited for, for a comparison or a cell.
func waitingFor(waits []policy.Blocker) string {
	const most = 5
	var names []string
	for _, b := range waits[:min(len(waits), most)] {
		name := b.Proxy
		if name == "" {
			name = b.Why
		}
		names = append(names, name)
	}
	if n := len(waits) - most; n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	return strings.Join(names, ", ")
}
