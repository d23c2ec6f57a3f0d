// Tokens shows that nothing is lost in the whole life of a token, and how soon whoever is withdrawn is out: five proxies
// with real Envoys, of which three instances of web, and api, send 1,000 requests a second to backend while tokens are
// rotated, the signing key is, one token is revoked and one expires.
//
// What is lost of those who were never withdrawn, and a bound that was missed, end the drill with the code 1. Nothing is
// taken from what the mesh says of itself, except when an agent has a stream and which token it came in by.
package main

import (
	"context"
	"embed"
	"fmt"
	"strings"
	"time"

	"koguma/testenv"
	"koguma/testenv/drill"
)

//go:embed *.yaml
var files embed.FS

func main() { drill.Main(files, run) }

// drain is how long Envoy lets an open connection live that is no longer let in.
const drain = 2 * time.Second

// What has to happen, and soon.
const (
	tokenUsed    drill.Event = iota // the proxy came in by the new token in its file
	streamClosed                    // whoever is withdrawn has no stream to the control plane
	newRefused                      // it opens no connection to a peer
	openClosed                      // it has none
)

const legend = `
Lost and cut count those who were not withdrawn. A revocation renews the filter chain that all instances of a service
share at its peers: their HTTP is drained without a loss, their long TCP connections are closed and have to be opened again.
`

// tokens is the mesh, and what was seen of it so far.
type tokens struct {
	*drill.Mesh
	*drill.Record
	backend *drill.Proxy
	webs    []*drill.Proxy
	api     *drill.Proxy
}

func run(ctx context.Context, m *drill.Mesh) error {
	d := &tokens{Mesh: m, Record: &drill.Record{
		Mesh: m, Legend: legend,
		Promises: []drill.Promise{
			tokenUsed:    {What: "new token used", Within: time.Second},
			streamClosed: {What: "stream closed", Within: time.Second},
			newRefused:   {What: "new refused", Within: time.Second},
			openClosed:   {What: "open closed", Within: drain + time.Second},
		},
	}}
	return d.Run(ctx, 40*time.Second, []testenv.Step{
		{Does: "start a mesh", Do: d.start},
		{Does: "begin to send", Do: d.Begin},
		{Does: "change nothing", Do: d.rest},
		{Does: "rotate tokens", Do: d.rotateTokens},
		{Does: "rotate the signing key", Do: d.rotateSigningKey},
		{Does: "revoke web-2's token", Do: d.revoke},
		{Does: "let api's token expire", Do: d.expire},
		{Does: "give api a new token", Do: d.comeBack},
		{Does: "ask who is in by what", Do: d.inspect},
	})
}

func (d *tokens) start(ctx context.Context) (string, error) {
	share := drill.Load{HTTP: 225, Echo: 25, Streams: 3}
	d.api = drill.NewProxy("api", 1, share)
	d.webs = []*drill.Proxy{drill.NewProxy("web", 1, share), drill.NewProxy("web", 2, share), drill.NewProxy("web", 3, share)}
	d.backend = drill.NewProxy("backend", 1, drill.Load{})
	d.Proxies = append([]*drill.Proxy{d.backend, d.api}, d.webs...)
	begin := time.Now()
	err := d.Start(ctx, []string{"-f", d.Path("mesh.yaml")}, []string{fmt.Sprint("--envoy-drain-time=", drain)})
	return fmt.Sprintf("a control plane; backend, web-1 to web-3, api, each with an Envoy; ready after %.2f s",
		time.Since(begin).Seconds()), err
}

// inspect shows what an operator sees at the end.
func (d *tokens) inspect(ctx context.Context) (string, error) {
	table, err := d.CP.Kumactl(ctx, "inspect", "tokens", "--mesh=default")
	return "kumactl inspect tokens\n\n" + strings.TrimSpace(table), err
}
