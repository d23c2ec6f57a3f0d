// Demo runs a mesh of three services, each behind a real Envoy, and shows that a permission decides who gets in. Every
// line says what was done and what was seen of it; what is not as it should be ends the demo with an error.
package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"koguma/testenv"
)

//go:embed *.yaml
var files embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "koguma-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.CopyFS(dir, files); err != nil {
		return err
	}
	d := &demo{dir: dir}
	defer func() { err = errors.Join(err, d.stop()) }()

	return testenv.Show(ctx, os.Stdout, 20*time.Second, []testenv.Step{
		{Does: "started a control plane", Do: d.startControlPlane},
		{Does: "made a token for each service", Do: d.makeTokens},
		{Does: "started a proxy for each", Do: d.startProxies},
		{Does: "sent requests to backend, mTLS off", Do: d.sendPlain},
		{Does: "turned mTLS on", Do: d.turnOnMTLS},
		{Does: "permitted web to reach backend", Do: d.permit},
		{Does: "shook hands with backend's proxy", Do: d.readCertificate},
		{Does: "searched for keys and tokens", Do: d.searchSecrets},
		{Does: "took web's permission away", Do: d.forbid},
		{Does: "asked who is in the mesh", Do: d.inspect},
	})
}

// demo is the mesh. Its folder holds the files of this program, cp/, tokens/, and the work folders of the agents below
// agents/.
type demo struct {
	dir      string
	cp       *testenv.ControlPlane
	services []*service
}

// service is a workload and the proxy beside it.
type service struct {
	name              string
	token             string
	address           string // where the proxy listens
	inbound, outbound int    // and the ports
	workload          *testenv.Workload
	agent             *testenv.Agent
}

func (d *demo) path(elem ...string) string { return filepath.Join(d.dir, filepath.Join(elem...)) }

func (d *demo) startControlPlane(ctx context.Context) (string, error) {
	if err := os.Mkdir(d.path("cp"), 0o700); err != nil {
		return "", err
	}
	begin := time.Now()
	var err error
	d.cp, err = testenv.StartControlPlane(ctx, d.path("cp"))
	return fmt.Sprintf("ready after %.2f s", time.Since(begin).Seconds()), err
}

func (d *demo) makeTokens(ctx context.Context) (string, error) {
	if err := os.Mkdir(d.path("tokens"), 0o700); err != nil {
		return "", err
	}
	for _, name := range []string{"backend", "web", "intruder"} {
		token, err := d.cp.Kumactl(ctx, "generate", "dataplane-token",
			"--mesh=default", "--name="+name+"-1", "--tag=kuma.io/service="+name, "--valid-for=720h")
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(d.path("tokens", name), []byte(token), 0o600); err != nil {
			return "", err
		}
		d.services = append(d.services, &service{name: name, token: strings.TrimSpace(token)})
	}
	return "backend, web, intruder: good for one name and one service, for 30 days", nil
}

func (d *demo) startProxies(ctx context.Context) (string, error) {
	if err := os.Mkdir(d.path("agents"), 0o700); err != nil {
		return "", err
	}
	begin := time.Now()
	for _, s := range d.services {
		s.address = testenv.Loopback()
		ports, err := testenv.FreePorts(s.address, 2)
		if err != nil {
			return "", err
		}
		s.inbound, s.outbound = ports[0], ports[1]
		if s.workload, err = testenv.ServeHTTP(s.name); err != nil {
			return "", err
		}
		s.agent, err = testenv.StartAgent("kuma-dp of "+s.name, d.path("agents", s.name),
			"--cp-address="+d.cp.DP,
			"--dataplane-token-file="+d.path("tokens", s.name),
			"--dataplane-file="+d.path("dataplane.yaml"),
			"--dataplane-var=service="+s.name,
			"--dataplane-var=address="+s.address,
			fmt.Sprint("--dataplane-var=inbound=", s.inbound),
			fmt.Sprint("--dataplane-var=workload=", s.workload.Port()),
			fmt.Sprint("--dataplane-var=outbound=", s.outbound),
			"--drain-time=1s")
		if err != nil {
			return "", err
		}
	}
	for _, s := range d.services {
		if err := s.agent.AwaitReady(ctx); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("three agents with real Envoys, ready after %.2f s", time.Since(begin).Seconds()), nil
}

func (d *demo) sendPlain(ctx context.Context) (string, error) { return d.requests(ctx, true, true) }

func (d *demo) turnOnMTLS(ctx context.Context) (string, error) {
	if _, err := d.cp.Kumactl(ctx, "apply", "-f", d.path("mesh.yaml")); err != nil {
		return "", err
	}
	return d.requests(ctx, false, false)
}

func (d *demo) permit(ctx context.Context) (string, error) {
	if _, err := d.cp.Kumactl(ctx, "apply", "-f", d.path("permission.yaml")); err != nil {
		return "", err
	}
	return d.requests(ctx, true, false)
}

func (d *demo) inspect(ctx context.Context) (string, error) {
	table, err := d.cp.Kumactl(ctx, "inspect", "dataplanes", "--mesh=default")
	if err != nil {
		return "", err
	}
	if online := strings.Count(table, "Online"); online != len(d.services) {
		return "", fmt.Errorf("%d proxies are online, not %d:\n%s", online, len(d.services), table)
	}
	return "all are online\n\n" + table, nil
}

// stop ends everything, agents first, and makes sure that they took all their files with them.
func (d *demo) stop() error {
	errs := make(chan error, len(d.services))
	for _, s := range d.services {
		go func() { errs <- s.stop() }()
	}
	var all []error
	for range d.services {
		all = append(all, <-errs)
	}
	if d.cp != nil {
		all = append(all, d.cp.Stop(10*time.Second))
	}
	left, _ := filepath.Glob(d.path("agents", "*"))
	if len(left) > 0 {
		all = append(all, fmt.Errorf("the agents left files behind: %v", left))
	}
	return errors.Join(all...)
}

func (s *service) stop() error {
	var err error
	if s.agent != nil {
		err = s.agent.Stop(10 * time.Second)
	}
	if s.workload != nil {
		err = errors.Join(err, s.workload.Close())
	}
	return err
}
