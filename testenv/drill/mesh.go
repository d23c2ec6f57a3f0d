package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"koguma/testenv"
)

// LongLife is how long a token is good that is not to expire.
const LongLife = time.Hour

// Mesh is a control plane and its proxies. Its folder holds the files of the program, among them dataplane.yaml, which is
// what all proxies are like; the control plane's below cp/, the tokens below tokens/, and the work folders of the agents
// below agents/.
type Mesh struct {
	CP      *testenv.ControlPlane
	Proxies []*Proxy

	dir        string
	env        []string          // of the control plane
	http, echo *testenv.Workload // what all serve; only backend is asked for it
}

// Path is that of something in the mesh's folder.
func (m *Mesh) Path(elem ...string) string { return filepath.Join(m.dir, filepath.Join(elem...)) }

// Start starts the control plane, applies with these arguments, starts the proxies, and returns when all are ready and
// those that are to send can reach backend. The agents get args besides what all have.
func (m *Mesh) Start(ctx context.Context, apply, args []string) error {
	for _, sub := range []string{"cp", "tokens", "agents"} {
		if err := os.Mkdir(m.Path(sub), 0o700); err != nil {
			return err
		}
	}
	var err error
	if m.env, err = testenv.LastingAddresses(); err != nil {
		return err
	}
	if err := m.StartCP(ctx); err != nil {
		return err
	}
	if _, err := m.CP.Kumactl(ctx, append([]string{"apply"}, apply...)...); err != nil {
		return err
	}
	if m.http, err = testenv.ServeHTTP("backend"); err != nil {
		return err
	}
	if m.echo, err = testenv.ServeTCP(); err != nil {
		return err
	}
	for _, p := range m.Proxies {
		if err := m.launch(ctx, p, args); err != nil {
			return err
		}
	}
	for _, p := range m.Proxies {
		if err := p.Agent.AwaitReady(ctx); err != nil {
			return err
		}
	}
	for _, p := range m.Proxies {
		if p.Sends == (Load{}) {
			continue
		}
		if err := p.AwaitWay(ctx); err != nil {
			return err
		}
	}
	return nil
}

// StartCP starts the control plane, again if it was killed: with the same store and the same addresses.
func (m *Mesh) StartCP(ctx context.Context) (err error) {
	m.CP, err = testenv.StartControlPlane(ctx, m.Path("cp"), m.env...)
	return err
}

// launch starts the agent of a proxy with its first token.
func (m *Mesh) launch(ctx context.Context, p *Proxy, args []string) error {
	if _, err := m.Give(ctx, p, LongLife); err != nil {
		return err
	}
	if err := p.settle(); err != nil {
		return err
	}
	args = append([]string{
		"--cp-address=" + m.CP.DP,
		"--dataplane-token-file=" + m.TokenFile(p),
		"--dataplane-file=" + m.Path("dataplane.yaml"),
		"--concurrency=1", "--drain-time=0s",
		"--dataplane-var=name=" + p.Name, "--dataplane-var=service=" + p.Service, "--dataplane-var=address=" + p.address,
		fmt.Sprint("--dataplane-var=workloadHTTP=", m.http.Port()), fmt.Sprint("--dataplane-var=workloadEcho=", m.echo.Port()),
	}, args...)
	for name, port := range p.ports {
		args = append(args, fmt.Sprintf("--dataplane-var=%s=%d", name, port))
	}
	var err error
	p.Agent, err = testenv.StartAgent("kuma-dp of "+p.Name, m.Path("agents", p.Name), args...)
	return err
}

// Senders are those that are to send.
func (m *Mesh) Senders() (all []*Proxy) {
	for _, p := range m.Proxies {
		if p.Sends != (Load{}) {
			all = append(all, p)
		}
	}
	return all
}

// stop ends everything, those who send first.
func (m *Mesh) stop() error {
	errs := make(chan error)
	for _, p := range m.Proxies {
		go func() { errs <- p.stop() }()
	}
	var all []error
	for range m.Proxies {
		all = append(all, <-errs)
	}
	if m.CP != nil {
		all = append(all, m.CP.Stop(10*time.Second))
	}
	for _, w := range []*testenv.Workload{m.http, m.echo} {
		if w != nil {
			all = append(all, w.Close())
		}
	}
	return errors.Join(all...)
}
