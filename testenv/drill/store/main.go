// Store shows that nothing is lost while the store is away, or one of the control planes that share it: five proxies with
// real Envoys, of which two instances of web send 1,000 requests a second to two of backend, over 50 long TCP connections
// among others; two control planes, one Postgres, and a standby of that. The Postgres is stopped, stalled, and fails over to
// the standby; the control plane that has the most proxies is killed, and the one that has them then is stalled; and both
// are killed. All the while something is written 20 times a second, or 200 times where something fails then, at
// either control plane in turn.
//
// A request that is lost, a long connection that is cut, a write that was acknowledged and is not there, a proxy that was
// taken out of the store or had no good certificate, and a bound that was missed end the drill with the code 1. With
// -sabotage the standby lags when the Postgres fails, to show that the drill can see a loss.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"koguma/testenv"
	"koguma/testenv/drill"
)

//go:embed *.yaml
var files embed.FS

const (
	// life is that of a certificate. It is renewed when 60 to 73 % of it have gone: most are while the Postgres stalls, and
	// what is left outlasts that.
	life = 80 * time.Second
	// absence is how long the store is away, or stalled, and a control plane stalled: longer than its lease.
	absence = 20 * time.Second
)

// What has to happen, and soon.
const (
	seen    drill.Event = iota // after it was sent to one control plane: a write, at the other one; of 99 %
	refused                    // after the Postgres is away: both control planes say so, and what is to be written
	back                       // after it takes connections again, or a control plane is ready: writes, at both
	resumed                    // after the crash of the primary: writes, at both
	moved                      // after their control plane was killed: its proxies
	acted                      // after it was given to the other one: a permission, and the revocation of a token
	left                       // after their control plane was stalled: its proxies
	found                      // after both control planes are ready again: the proxies
)

const legend = `
Seen: a write, at the other control plane, from when it was sent; 99 % of them. Refused: until both say that the Postgres is away, or
the slowest write is refused. Back: writes, from when it takes connections again or a control plane is ready; resumed: from the
crash of the primary, or the stall of the other control plane. Moved: the proxies of a control plane that was killed; left: of one
that stalls; found: after both were killed, from when both are ready. Acted: how soon a proxy comes through by a permission, or
does not any more when its token is revoked, whichever took longer. Retried: by the senders' Envoys. Put off: renewals of
certificates that failed at first. Vanished: Dataplanes that a control plane did not have when it was asked, ten times a second.
Expired: how long a proxy had no certificate that was good.
`

// shared is the mesh, and what was seen of it so far.
type shared struct {
	*drill.Mesh
	*drill.Record
	primary, standby *testenv.Postgres
	database         string
	web, guest       *drill.Proxy
	busy, idle       int // which of CPs had most proxies when that was asked last, and which had not

	writer *writer
	watch  *watch
	trust  string // whom the mesh trusts, before anything was done to it
}

func main() {
	sabotage := flag.Bool("sabotage", false, "fail over to a standby that lags, which has to show")
	flag.Parse()
	drill.Main(files, func(ctx context.Context, m *drill.Mesh) error { return run(ctx, m, *sabotage) })
}

func run(ctx context.Context, m *drill.Mesh, sabotage bool) (err error) {
	d := &shared{Mesh: m}
	d.Record = &drill.Record{
		Mesh: m, Legend: legend, Unbroken: true,
		Counters: []drill.Counter{
			{Head: "retried", Count: m.Retried},
			{Head: "put off", Count: d.putOff},
			{Head: "vanished", Count: func(context.Context) (int, error) { return d.watch.counts() }, Never: true},
			{Head: "expired ms", Count: func(context.Context) (int, error) { return d.watch.expiredMS() }, Never: true},
		},
		Promises: []drill.Promise{
			seen:    {What: "seen", Within: 100 * time.Millisecond},
			refused: {What: "refused", Within: 6 * time.Second},
			back:    {What: "back", Within: 5 * time.Second},
			resumed: {What: "resumed", Within: 15 * time.Second},
			moved:   {What: "moved", Within: 2 * time.Second},
			acted:   {What: "acted", Within: time.Second},
			left:    {What: "left", Within: absence},
			found:   {What: "found", Within: 10 * time.Second},
		},
	}
	defer func() { err = errors.Join(err, d.hush()) }()
	steps := []testenv.Step{
		{Does: "start a mesh", Do: d.start},
		{Does: "begin to send", Do: d.begin},
		{Does: "change nothing", Do: d.rest},
	}
	if sabotage {
		return d.Run(ctx, time.Minute, append(steps,
			testenv.Step{Does: "lag behind, and take over", Do: d.lag},
			testenv.Step{Does: "look for what was written", Do: d.verify},
		))
	}
	return d.Run(ctx, time.Minute, append(steps,
		testenv.Step{Does: "make meshes at both at once", Do: d.race},
		testenv.Step{Does: "stop the Postgres", Do: d.stop},
		testenv.Step{Does: "stall it", Do: d.stall},
		testenv.Step{Does: "fail over to its standby", Do: d.failOver},
		testenv.Step{Does: "stop that, and kill a control plane", Do: d.bothAway},
		testenv.Step{Does: "kill a control plane", Do: d.kill},
		testenv.Step{Does: "start it again", Do: d.restart},
		testenv.Step{Does: "stall the other one", Do: d.freeze},
		testenv.Step{Does: "let it go on", Do: d.thaw},
		testenv.Step{Does: "kill both", Do: d.killBoth},
		testenv.Step{Does: "look for what was written", Do: d.verify},
		testenv.Step{Does: "ask whom the mesh trusts", Do: d.inspect},
	))
}

func (d *shared) start(ctx context.Context) (string, error) {
	half := drill.Load{HTTP: 450, Echo: 50, Streams: 25}
	d.web, d.guest = drill.NewProxy("web", 1, half), drill.NewProxy("guest", 1, drill.Load{})
	d.Proxies = []*drill.Proxy{
		d.web, drill.NewProxy("web", 2, half), drill.NewProxy("backend", 1, drill.Load{}), drill.NewProxy("backend", 2, drill.Load{}), d.guest,
	}
	begin := time.Now()
	if err := d.startPostgres(ctx); err != nil {
		return "", err
	}
	if err := d.Start(ctx, []string{"-f", d.Path("mesh.yaml"), fmt.Sprint("-v=life=", life)}, nil); err != nil {
		return "", err
	}
	d.writer, d.watch = newWriter(d.CPs), newWatch(d.CPs, d.Proxies)
	trust, err := d.trusted(ctx, "default")
	d.trust = trust
	return fmt.Sprintf("a Postgres and a standby, two control planes; web-1, web-2, backend-1, backend-2, guest-1, each with an Envoy; ready after %.2f s",
		time.Since(begin).Seconds()), err
}

// begin begins to send, to write and to watch. What it begins ends in hush.
func (d *shared) begin(ctx context.Context) (string, error) {
	lasting := context.WithoutCancel(ctx)
	d.watch.start(lasting)
	d.writer.start(lasting)
	return d.Begin(ctx)
}

// hush ends what is written and watched, if anything is.
func (d *shared) hush() error {
	if d.writer == nil {
		return nil
	}
	d.writer.stop()
	d.watch.stop()
	return nil
}

// rest is what the other phases are to be compared with.
func (d *shared) rest(ctx context.Context) (string, error) {
	begin := time.Now()
	d.writer.compare.Store(true)
	if err := drill.Pause(ctx, absence/2); err != nil {
		return "", err
	}
	d.writer.compare.Store(false)
	p50, p99, n := d.writer.seen(begin)
	if n == 0 {
		return "", errors.New("no write was seen by the other control plane")
	}
	for _, p := range d.Senders() {
		if n := len(p.Streams.Spells()); n != p.Sends.Streams {
			return "", fmt.Errorf("%s has opened %d long TCP connections, not %d", p.Name, n, p.Sends.Streams)
		}
	}
	seenIt, err := d.Close(ctx, "nothing changes", map[drill.Event]time.Duration{seen: p99})
	return fmt.Sprintf("the other control plane had %d writes after %.0f ms in the median; %s", n, p50.Seconds()*1000, seenIt), err
}

// inspect shows what an operator sees at the end.
func (d *shared) inspect(ctx context.Context) (string, error) {
	table, err := d.CP.Kumactl(ctx, "inspect", "mesh", "default")
	return "kumactl inspect mesh default\n\n" + strings.TrimSpace(table), err
}
