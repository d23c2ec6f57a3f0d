// Alerts shows that the alerts and the dashboard in deploy say what is the matter: a control plane and three proxies with real
// Envoys are watched by a real Prometheus with our rules, of which only the waiting (for) is cut short. First all is well, and each
// expression of the dashboard is evaluated. Then something goes wrong, the alert that is about it fires, and nothing else does; it
// is mended, and the alert is over.
//
// An expression that cannot be evaluated, an alert that does not come, that comes without a reason, or stays, end the drill with
// the code 1. It is to be run from the root of the repository.
package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"koguma/testenv"
	"koguma/testenv/deploy"
	"koguma/testenv/drill"
)

//go:embed *.yaml
var files embed.FS

func main() { drill.Main(files, run) }

// alerts is the mesh, and who watches it.
type alerts struct {
	*drill.Mesh
	prometheus          *prometheus
	web, backend, other *drill.Proxy
}

func run(ctx context.Context, m *drill.Mesh) error {
	a := &alerts{Mesh: m}
	m.Last = func() error { return a.prometheus.stop() }
	return testenv.Show(ctx, os.Stdout, 40*time.Second, []testenv.Step{
		{Does: "start a mesh", Do: a.start},
		{Does: "watch it, all is well", Do: a.watch},
		{Does: "ask for the dashboard", Do: a.dashboard},
		{Does: "put another's token into web's file", Do: a.misplaceToken},
		{Does: "let a stranger knock", Do: a.knock},
		{Does: "kill the control plane", Do: a.killControlPlane},
		{Does: "kill an agent", Do: a.killAgent},
	})
}

func (a *alerts) start(ctx context.Context) (string, error) {
	a.backend, a.web = drill.NewProxy("backend", 1, drill.Load{}), drill.NewProxy("web", 1, drill.Load{})
	a.other = drill.NewProxy("other", 1, drill.Load{})
	a.Proxies = []*drill.Proxy{a.backend, a.web, a.other}
	if err := a.Start(ctx, []string{"-f", a.Path("mesh.yaml")}, nil); err != nil {
		return "", err
	}
	return "a control plane; backend, web and other, each with an Envoy", a.web.AwaitWay(ctx)
}

var readiness = regexp.MustCompile(`msg=readiness.* url=http://(\S+)/ready`)

func (a *alerts) watch(ctx context.Context) (string, error) {
	targets := fmt.Sprintf("- targets: [%q]\n  labels: {job: kuma-cp}\n", strings.TrimPrefix(a.CP.Diagnostics, "http://"))
	for _, p := range a.Proxies {
		at, err := p.Agent.AwaitOutput(ctx, readiness)
		if err != nil {
			return "", err
		}
		targets += fmt.Sprintf("- targets: [%q]\n  labels: {job: kuma-dp, mesh: default, proxy: %s}\n", at[0], p.Name)
	}
	var err error
	if a.prometheus, err = startPrometheus(ctx, a.Path(), targets); err != nil {
		return "", err
	}
	if err := a.expect(ctx); err != nil {
		return "", err
	}
	n, err := a.prometheus.evaluated(ctx)
	return fmt.Sprintf("%d alerts are evaluated, and one fires: tokens end within a day", n), err
}

// dashboard evaluates what the panels ask for. With one control plane and a calm mesh, few have nothing to show.
func (a *alerts) dashboard(ctx context.Context) (string, error) {
	var d deploy.Dashboard
	if err := deploy.Read("deploy/grafana/koguma.json", &d); err != nil {
		return "", err
	}
	n, empty := 0, []string{}
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			expr := strings.NewReplacer("$mesh", "default", "$__rate_interval", "10s").Replace(t.Expr)
			series, err := a.prometheus.query(ctx, expr)
			if err != nil {
				return "", fmt.Errorf("panel %q: %w", p.Title, err)
			}
			if n++; len(series) == 0 {
				empty = append(empty, p.Title)
			}
		}
	}
	seen := fmt.Sprintf("%d expressions; nothing to show yet: %s", n, strings.Join(empty, ", "))
	if len(empty) > 4 {
		return "", errors.New(seen)
	}
	return seen, nil
}

func (a *alerts) misplaceToken(ctx context.Context) (string, error) {
	theirs, err := os.ReadFile(a.TokenFile(a.backend))
	if err != nil {
		return "", err
	}
	if err := testenv.ReplaceFile(a.TokenFile(a.web), string(theirs)); err != nil {
		return "", err
	}
	return a.timed(ctx, "KogumaTokenNotTaken")
}

// knock has the stranger try for as long as it takes: how often within five minutes is what counts.
func (a *alerts) knock(ctx context.Context) (string, error) {
	knocking, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	defer func() { stop(); <-done }()
	go func() {
		defer close(done)
		for knocking.Err() == nil {
			_ = drill.Ask(knocking, a.other.At("outHTTP")) // 403
		}
	}()
	return a.timed(ctx, "KogumaDenialsJump", "KogumaTokenNotTaken")
}

func (a *alerts) killControlPlane(ctx context.Context) (string, error) {
	a.CP.Kill()
	seen, err := a.timed(ctx, "KogumaControlPlaneDown", "KogumaNoControlPlane", "KogumaProxyDisconnected", "KogumaDenialsJump", "KogumaTokenNotTaken")
	if err != nil {
		return "", err
	}
	if err := a.StartCP(ctx); err != nil {
		return "", err
	}
	over, err := a.timed(ctx, "KogumaDenialsJump", "KogumaTokenNotTaken")
	return seen + "; it is started, and left are " + over, err
}

func (a *alerts) killAgent(ctx context.Context) (string, error) {
	a.other.Agent.Kill()
	return a.timed(ctx, "KogumaProxyDown", "KogumaDenialsJump", "KogumaTokenNotTaken")
}

// timed waits until just these alerts fire, and says how long that took.
func (a *alerts) timed(ctx context.Context, names ...string) (string, error) {
	begin := time.Now()
	err := a.expect(ctx, names...)
	return fmt.Sprintf("%s after %.1f s", strings.Join(names, ", "), time.Since(begin).Seconds()), err
}

// expect waits until just these alerts fire, and that about tokens, which live for an hour here.
func (a *alerts) expect(ctx context.Context, names ...string) error {
	names = append(names, "KogumaTokenEnding")
	slices.Sort(names)
	return testenv.Eventually(ctx, "the alerts", func() error {
		firing, err := a.prometheus.firing(ctx)
		if err == nil && !slices.Equal(firing, names) {
			err = fmt.Errorf("%v fire instead of %v", firing, names)
		}
		return err
	})
}
