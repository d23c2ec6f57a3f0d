package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"koguma/agent"
)

// tally is a log of denials, as numbers. It blocks while it is locked.
type tally struct {
	slog.Handler
	mu         sync.Mutex
	lines      int // with a line of their own
	told, left int // records that tell of others, and of how many
}

func (c *tally) Enabled(context.Context, slog.Level) bool { return true }

func (c *tally) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Message == "denied" {
		c.lines++
		return nil
	}
	c.told++
	r.Attrs(func(a slog.Attr) bool { c.left += int(a.Value.Int64()); return true })
	return nil
}

func (c *tally) read() (lines, told, left int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines, c.told, c.left
}

func newTotal() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "denied"}, []string{"service", "reason"})
}

// counted is the sum of a counter over its labels.
func counted(t *testing.T, c prometheus.Collector) int {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0.0
	for _, f := range families {
		for _, m := range f.Metric {
			n += m.GetCounter().GetValue()
		}
	}
	return int(n)
}

// Of very many denials some have a line, the others are told of once a second, and all are counted.
func TestDenialsAreSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, total := new(tally), newTotal()
		d := agent.NewDenials(slog.New(log), total)
		ctx, cancel := context.WithCancel(t.Context())
		go d.Run(ctx)
		for range 3000 {
			d.Add("backend")
			time.Sleep(time.Millisecond)
		}
		if lines, told, _ := log.read(); lines < 20+29 || lines > 20+31 || told != 2 {
			t.Errorf("%d lines, and %d that tell of others; want 20 at once, 10 a second, and one a second", lines, told)
		}
		time.Sleep(2 * time.Second)
		lines, told, left := log.read()
		if got := counted(t, total); lines+left != 3000 || told != 3 || got != 3000 {
			t.Errorf("of 3000 denials %d have a line, %d lines tell of %d, and %d are counted", lines, told, left, got)
		}
		d.Add("backend")
		time.Sleep(time.Minute)
		if again, told, left := log.read(); again != lines+1 || told != 3 || again+left != 3001 {
			t.Errorf("one more alone: %d lines after %d, %d times told", again, lines, told)
		}
		for range 100 {
			d.Add("backend")
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		if lines, told, left := log.read(); told != 4 || lines+left != 3101 {
			t.Errorf("at the end %d lines, and %d told of", lines, left)
		}
	})
}

// Whoever does not read the log keeps nobody waiting, and loses lines, not numbers.
func TestDenialsWhenNobodyReads(t *testing.T) {
	t.Parallel()
	log, total := new(tally), newTotal()
	d := agent.NewDenials(slog.New(log), total)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	log.mu.Lock()
	go func() { defer close(done); d.Run(ctx) }()
	for i := range 10_000 {
		d.Add(strconv.Itoa(i % 3))
	}
	if got := counted(t, total); got != 10_000 {
		t.Errorf("%d are counted", got)
	}
	log.mu.Unlock()
	eventually(t, func() error {
		if lines, _, left := log.read(); lines+left != 10_000 {
			return fmt.Errorf("%d lines, and %d told of", lines, left)
		}
		return nil
	})
	cancel()
	<-done
}

// What stands in a line is from outside: it is one line, of a length that has a bound, that no terminal obeys; and the
// permission is that of the inbound as the control plane has it now.
func TestDenialLine(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	noted(t, cp, "10.0.0.9:80", "front-web", 7)
	r := start(t, config(t, cp))
	e := r.envoy()
	e.takeAll()
	for i, c := range []struct {
		peer, sni, at string
		failure, rule string
		want          []string
		not           string
	}{
		{peer: "spiffe://default/front", sni: "front.web.default", at: "10.0.0.9:80", rule: "none", want: []string{
			"level=WARN msg=denied peer=spiffe://default/front from=10.0.0.8:4711 service=web to=10.0.0.9:80 reason=not-permitted " +
				`rule="no rule" permission=front-web version=7 sni=front.web.default` + "\n",
		}},
		{peer: "spiffe://default/front", at: "10.0.0.9:80", rule: "front", want: []string{"rule=front permission=front-web"}, not: "sni"},
		{peer: "spiffe://default/front", at: "10.0.0.9:81", rule: "none", want: []string{`permission="" version=0`}, not: "front-web"},
		{at: "10.0.0.9:80", failure: tlsError("PEER_DID_NOT_RETURN_A_CERTIFICATE:peer did not"), want: []string{
			`peer="" from=10.0.0.8:4711 service=web to=10.0.0.9:80 reason=no-certificate detail="PEER_DID_NOT_RETURN_A_CERTIFICATE:peer did not"` + "\n",
		}, not: "permission"},
		{peer: "spiffe://default/certificate has expired", at: "10.0.0.9:80",
			failure: tlsError("CERTIFICATE_VERIFY_FAILED:verify cert failed: SAN matcher, certificate SANs are [spiffe://x/certificate has expired]"),
			want:    []string{`peer="" `, `claim="spiffe://default/certificate has expired"`, "reason=wrong-mesh"}},
		{peer: "spiffe://other/front", at: "10.0.0.9:80",
			failure: tlsError("CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate"), want: []string{"reason=wrong-mesh"}},
		{peer: "spiffe://default/\n\x1b[2J\u202e" + strings.Repeat("é", 5000), sni: "a\nb\rmsg=x" + strings.Repeat("s", 300), at: "10.0.0.9:80",
			failure: "\x00\nlevel=INFO " + strings.Repeat("%", 300), want: []string{"reason=handshake", `sni="a b msg=x`, "é...", "%..."}},
	} {
		before := len(r.log.String())
		e.deny(c.peer, c.sni, c.at, c.failure, c.rule)
		var line string
		eventually(t, func() error {
			line = r.log.String()[before:]
			if !strings.HasSuffix(line, "\n") {
				return fmt.Errorf("no line")
			}
			return nil
		})
		for _, want := range c.want {
			if !strings.Contains(line, want) {
				t.Errorf("%d: no %q in\n%s", i, want, line)
			}
		}
		if c.not != "" && strings.Contains(line, c.not) || len(line) > 1500 || strings.Count(line, "\n") != 1 ||
			strings.ContainsAny(line, "\x1b\x00\r\u202e") {
			t.Errorf("%d: %d bytes\n%q", i, len(line), line)
		}
	}

	noted(t, cp, "10.0.0.9:80", "front-web", 8)
	permission := func(want string) {
		t.Helper()
		eventually(t, func() error {
			before := len(r.log.String())
			time.Sleep(100 * time.Millisecond) // no more than ten lines a second
			e.deny("", "", "10.0.0.9:80", "", "none")
			if line := r.log.String()[before:]; !strings.Contains(line, want) {
				return fmt.Errorf("%q", line)
			}
			return nil
		})
	}
	permission("permission=front-web version=8")
	noted(t, cp, "10.0.0.9:81", "front-web", 9)
	permission(`permission="" version=0`)
}
