package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"koguma/testenv"
)

// drain is how long Envoy lets an open connection live that is no longer let in.
const drain = 2 * time.Second

// longLife is how long a token is good that is not to expire.
const longLife = time.Hour

// drill is the mesh, and what was seen of it so far. Its folder holds the files of this program, the control plane's
// below cp/, the tokens below tokens/, and the work folders of the agents below agents/.
type drill struct {
	dir        string
	cp         *testenv.ControlPlane
	http, echo *testenv.Workload // what all serve; only backend is asked for it
	backend    *proxy
	webs       []*proxy
	api        *proxy

	begun time.Time // since when they send
	rows  []row     // the phases so far
}

func (d *drill) path(elem ...string) string { return filepath.Join(d.dir, filepath.Join(elem...)) }

// all are the proxies, and senders those that send to backend.
func (d *drill) all() []*proxy     { return append(d.senders(), d.backend) }
func (d *drill) senders() []*proxy { return append([]*proxy{d.api}, d.webs...) }

func (d *drill) start(ctx context.Context) (string, error) {
	d.backend = newProxy("backend", 1)
	d.webs = []*proxy{newProxy("web", 1), newProxy("web", 2), newProxy("web", 3)}
	d.api = newProxy("api", 1)
	for _, sub := range []string{"cp", "tokens", "agents"} {
		if err := os.Mkdir(d.path(sub), 0o700); err != nil {
			return "", err
		}
	}
	begin := time.Now()
	var err error
	if d.cp, err = testenv.StartControlPlane(ctx, d.path("cp")); err != nil {
		return "", err
	}
	if _, err := d.cp.Kumactl(ctx, "apply", "-f", d.path("mesh.yaml")); err != nil {
		return "", err
	}
	if d.http, err = testenv.ServeHTTP("backend"); err != nil {
		return "", err
	}
	if d.echo, err = testenv.ServeTCP(); err != nil {
		return "", err
	}
	for _, p := range d.all() {
		if err := d.launch(ctx, p); err != nil {
			return "", err
		}
	}
	for _, p := range d.all() {
		if err := p.agent.AwaitReady(ctx); err != nil {
			return "", err
		}
	}
	for _, p := range d.senders() {
		if err := p.awaitWay(ctx); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("a control plane; backend, web-1 to web-3, api, each with an Envoy; ready after %.2f s", time.Since(begin).Seconds()), nil
}

// launch starts the agent of a proxy with its first token.
func (d *drill) launch(ctx context.Context, p *proxy) error {
	if _, err := d.give(ctx, p, longLife); err != nil {
		return err
	}
	address := testenv.Loopback()
	ports, err := testenv.FreePorts(address, 4)
	if err != nil {
		return err
	}
	p.listen(address, ports[2], ports[3])
	args := []string{
		"--cp-address=" + d.cp.DP,
		"--dataplane-token-file=" + d.tokenFile(p),
		"--dataplane-file=" + d.path("dataplane.yaml"),
		"--concurrency=1", "--drain-time=0s",
		fmt.Sprint("--envoy-drain-time=", drain),
	}
	for name, value := range map[string]any{
		"name": p.name, "service": p.service, "address": address,
		"inHTTP": ports[0], "inEcho": ports[1], "outHTTP": ports[2], "outEcho": ports[3],
		"workloadHTTP": d.http.Port(), "workloadEcho": d.echo.Port(),
	} {
		args = append(args, fmt.Sprintf("--dataplane-var=%s=%v", name, value))
	}
	p.agent, err = testenv.StartAgent("kuma-dp of "+p.name, d.path("agents", p.name), args...)
	return err
}

// inspect shows what an operator sees at the end.
func (d *drill) inspect(ctx context.Context) (string, error) {
	table, err := d.cp.Kumactl(ctx, "inspect", "tokens", "--mesh=default")
	return "kumactl inspect tokens\n\n" + strings.TrimSpace(table), err
}

// stop ends everything, those who send first.
func (d *drill) stop() error {
	if d.cp == nil {
		return nil
	}
	errs := make(chan error)
	for _, p := range d.all() {
		go func() { errs <- p.stop() }()
	}
	var all []error
	for range d.all() {
		all = append(all, <-errs)
	}
	all = append(all, d.cp.Stop(10*time.Second))
	for _, w := range []*testenv.Workload{d.http, d.echo} {
		if w != nil {
			all = append(all, w.Close())
		}
	}
	return errors.Join(all...)
}
