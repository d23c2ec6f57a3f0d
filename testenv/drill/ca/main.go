// Ca shows that nothing is lost while the certificates of a mesh are replaced, and while whoever replaces them is away:
// five proxies with real Envoys, of which two instances of web send 1,000 requests a second to two of backend, over 50 long
// TCP connections among others. The CA is rotated, with the control plane killed in each stage; an agent is stopped
// meanwhile; the control plane is away for 90 % of a certificate's life, and an Envoy is killed while it is; the mesh
// becomes PERMISSIVE, and STRICT again.
//
// A request that is lost, a long connection that is cut, and a bound that was missed end the drill with the code 1. With
// -sabotage the rotation waits for nobody, to show that the drill can see a loss.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"strings"
	"time"

	"koguma/testenv"
	"koguma/testenv/drill"
)

//go:embed *.yaml
var files embed.FS

// life is that of a certificate.
const life = time.Minute

// What has to happen, and soon.
const (
	named       drill.Event = iota // after the command: who holds a stage up, and nobody else
	rotated                        // after the command, or after whoever held it up went on
	servesAgain                    // after its Envoy was killed: spare's inbound
	renewed                        // after the control plane began to come back: every certificate
	switched                       // after the command: plaintext, at every proxy
)

const legend = `
Who holds a stage up has its agent stopped; what its Envoy serves meanwhile is counted as everything else. Two stages of a
rotation wait 6 s for TLS handshakes. The Envoy that is killed is that of spare, which has none of the load: requests within an
Envoy end with it. Serves again: a request through another proxy to its inbound, tried all the time. Retried: by the senders'
Envoys, requests and connections that failed and were tried again, so that nobody lost them.
`

// ca is the mesh, and what was seen of it so far.
type ca struct {
	*drill.Mesh
	*drill.Record
	web1, backend1, spare *drill.Proxy

	signs string    // the backend that is enabled
	away  time.Time // since when there is no control plane
}

func main() {
	sabotage := flag.Bool("sabotage", false, "rotate the CA without waiting for anybody, which has to show")
	flag.Parse()
	drill.Main(files, func(ctx context.Context, m *drill.Mesh) error { return run(ctx, m, *sabotage) })
}

func run(ctx context.Context, m *drill.Mesh, sabotage bool) error {
	d := &ca{Mesh: m, signs: "ca-1"}
	d.Record = &drill.Record{
		Mesh: m, Legend: legend, Unbroken: true,
		Counters: []drill.Counter{{Head: "retried", Count: m.Retried}},
		Promises: []drill.Promise{
			named:       {What: "named", Within: 5 * time.Second},
			rotated:     {What: "rotated", Within: 20 * time.Second},
			servesAgain: {What: "serves again", Within: 2 * time.Second},
			renewed:     {What: "renewed", Within: life / 10},
			switched:    {What: "switched", Within: 5 * time.Second},
		},
	}
	steps := []testenv.Step{
		{Does: "start a mesh", Do: d.start},
		{Does: "begin to send", Do: d.Begin},
		{Does: "change nothing", Do: d.rest},
	}
	if sabotage {
		return d.Run(ctx, life, append(steps, testenv.Step{Does: "rotate the CA, and wait for nobody", Do: d.force}))
	}
	return d.Run(ctx, life, append(steps,
		testenv.Step{Does: "rotate the CA", Do: d.rotate},
		testenv.Step{Does: "kill the control plane in each stage", Do: d.rotateKilled},
		testenv.Step{Does: "stop an agent", Do: d.rotateStopped},
		testenv.Step{Does: "take the control plane away", Do: d.takeAway},
		testenv.Step{Does: "kill an Envoy meanwhile", Do: d.killEnvoy},
		testenv.Step{Does: "let 90 % of their life pass", Do: d.stayAway},
		testenv.Step{Does: "bring the control plane back", Do: d.bringBack},
		testenv.Step{Does: "take plaintext", Do: d.permit},
		testenv.Step{Does: "take it no more", Do: d.forbid},
		testenv.Step{Does: "ask whom the mesh trusts", Do: d.inspect},
	))
}

func (d *ca) start(ctx context.Context) (string, error) {
	half := drill.Load{HTTP: 450, Echo: 50, Streams: 25}
	d.web1, d.backend1 = drill.NewProxy("web", 1, half, "outSpare"), drill.NewProxy("backend", 1, drill.Load{}, "outSpare")
	d.spare = drill.NewProxy("spare", 1, drill.Load{}, "outSpare")
	d.Proxies = []*drill.Proxy{
		d.web1, drill.NewProxy("web", 2, half, "outSpare"), d.backend1, drill.NewProxy("backend", 2, drill.Load{}, "outSpare"), d.spare,
	}
	begin := time.Now()
	err := d.Start(ctx, d.manifest("STRICT"), nil)
	return fmt.Sprintf("a control plane; web-1, web-2, backend-1, backend-2, spare-1, each with an Envoy; ready after %.2f s",
		time.Since(begin).Seconds()), err
}

// manifest is the arguments that apply the mesh in a mode.
func (d *ca) manifest(mode string) []string {
	return []string{"-f", d.Path("mesh.yaml"), "-v=enabled=" + d.signs, "-v=mode=" + mode, fmt.Sprint("-v=life=", life)}
}

// rest is what the other phases are to be compared with.
func (d *ca) rest(ctx context.Context) (string, error) {
	if err := drill.Pause(ctx, 3*time.Second); err != nil {
		return "", err
	}
	for _, p := range d.Senders() {
		if n := len(p.Streams.Spells()); n != p.Sends.Streams {
			return "", fmt.Errorf("%s has opened %d long TCP connections, not %d", p.Name, n, p.Sends.Streams)
		}
	}
	return d.Close(ctx, "nothing changes", nil)
}

// inspect shows what an operator sees at the end.
func (d *ca) inspect(ctx context.Context) (string, error) {
	table, err := d.CP.Kumactl(ctx, "inspect", "mesh", "default")
	return "kumactl inspect mesh default\n\n" + strings.TrimSpace(table), err
}
