package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"koguma/testenv"
)

// LongLife is how long a token is good that is not to expire.
const LongLife = time.Hour

// Mesh is a control plane, or several, and its proxies. Its folder holds the files of the program, among them
// dataplane.yaml, which is what all proxies are like; those of the control planes below cp-1/ and so on, the tokens below
// tokens/, and the work folders of the agents below agents/.
type Mesh struct {
	CP      *testenv.ControlPlane   // the first of CPs
	CPs     []*testenv.ControlPlane // the newest in each place
	Proxies []*Proxy

	// Places is how many control planes there are; 0 is one. Env is what they are told besides where they listen: for several,
	// the store that they share. Last ends what that needs, when all else has ended.
	Places int
	Env    []string
	Last   func() error

	dir        string
	env        [][]string        // of the control planes
	http, echo *testenv.Workload // what all serve; only backend is asked for it
}

// Path is that of something in the mesh's folder.
func (m *Mesh) Path(elem ...string) string { return filepath.Join(m.dir, filepath.Join(elem...)) }

// Start starts the control planes, applies with these arguments, starts the proxies, and returns when all are ready and
// those that are to send can reach backend. The agents get args besides what all have.
func (m *Mesh) Start(ctx context.Context, apply, args []string) error {
	for _, sub := range []string{"tokens", "agents"} {
		if err := os.Mkdir(m.Path(sub), 0o700); err != nil {
			return err
		}
	}
	for i := range max(1, m.Places) {
		if err := m.found(ctx, i); err != nil {
			return err
		}
	}
	var err error
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

// found makes a place for a control plane, and starts it there.
func (m *Mesh) found(ctx context.Context, i int) error {
	addresses, err := testenv.LastingAddresses()
	if err != nil {
		return err
	}
	m.env, m.CPs = append(m.env, slices.Concat(addresses, m.Env)), append(m.CPs, nil)
	if err := os.Mkdir(m.home(i), 0o700); err != nil {
		return err
	}
	return m.Restart(ctx, i)
}

func (m *Mesh) home(i int) string { return m.Path(fmt.Sprint("cp-", i+1)) }

// StartCP starts the first control plane, again if it was killed.
func (m *Mesh) StartCP(ctx context.Context) error { return m.Restart(ctx, 0) }

// Restart starts a control plane again, by its index in CPs: with the same store and the same addresses.
func (m *Mesh) Restart(ctx context.Context, i int) (err error) {
	m.CPs[i], err = testenv.StartControlPlane(ctx, m.home(i), m.env[i]...)
	if i == 0 {
		m.CP = m.CPs[0]
	}
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
	var planes []string
	for _, cp := range m.CPs {
		planes = append(planes, cp.DP)
	}
	args = append([]string{
		"--cp-address=" + strings.Join(planes, ","),
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
	for _, cp := range m.CPs {
		if cp != nil {
			_ = cp.Signal(syscall.SIGCONT) // it cannot end while it is stopped
			all = append(all, cp.Stop(10*time.Second))
		}
	}
	for _, w := range []*testenv.Workload{m.http, m.echo} {
		if w != nil {
			all = append(all, w.Close())
		}
	}
	if m.Last != nil {
		all = append(all, m.Last())
	}
	return errors.Join(all...)
}

// Retried is how often the Envoys of those who send have tried again what failed.
func (m *Mesh) Retried(ctx context.Context) (sum int, err error) {
	for _, p := range m.Senders() {
		stats, err := p.Agent.Admin(ctx, `/stats?filter=^cluster\.(backend\.upstream_rq_retry|backend-echo\.upstream_cx_connect_fail)$`)
		if err != nil {
			return 0, err
		}
		lines := strings.Split(strings.TrimSpace(stats), "\n")
		if len(lines) != 2 {
			return 0, fmt.Errorf("the Envoy of %s counts no retries: %q", p.Name, stats)
		}
		for _, line := range lines {
			var n int
			_, value, _ := strings.Cut(line, ": ")
			if _, err := fmt.Sscan(value, &n); err != nil {
				return 0, errors.Join(fmt.Errorf("the Envoy of %s: %q", p.Name, line), err)
			}
			sum += n
		}
	}
	return sum, nil
}
