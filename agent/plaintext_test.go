package agent_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/agent"
	"koguma/policy"
	"koguma/xds"
)

// What is reported is what came since the inbound is permissive, whatever Envoy's counters were before, and also when
// another Envoy begins anew. Nothing is reported before Envoy serves it so, nor once it does not any more.
func TestPlaintextCounts(t *testing.T) {
	t.Parallel()
	const name = "inbound:10.0.0.1:80"
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := agent.NewPlaintext()
	notes := func(mode string) map[string]xds.Note {
		return map[string]xds.Note{name: {Mode: mode}, "other": {Mode: policy.ModeStrict}}
	}
	envoy := func(connections, bytes uint64) map[string]uint64 {
		return map[string]uint64{
			"tcp.plaintext_inbound_10_0_0_1_80.downstream_cx_total":          connections,
			"tcp.plaintext_inbound_10_0_0_1_80.downstream_cx_rx_bytes_total": bytes,
		}
	}
	if p.Report(now) != nil {
		t.Error("a report without a permissive inbound")
	}
	p.Watch(notes(policy.ModePermissive), now)
	if got := p.Report(now); len(got.Inbounds) != 0 || p.News() {
		t.Errorf("a report before Envoy was asked: %+v", got)
	}
	for _, step := range []struct {
		what        string
		do          func()
		news        bool
		connections uint64
		seen        time.Duration // ago; -1: never
	}{
		{"nobody came", func() { p.Count(envoy(0, 0), now) }, true, 0, -1},
		{"nobody came, still", func() { p.Count(envoy(0, 0), now) }, false, 0, -1},
		{"two came", func() { p.Count(envoy(2, 10), now) }, true, 2, 0},
		{"nothing moves", func() { now = now.Add(time.Minute); p.Count(envoy(2, 10), now) }, false, 2, time.Minute},
		{"one of them moves", func() { p.Count(envoy(2, 11), now) }, true, 2, 0},
		{"one came to another Envoy", func() { p.Count(envoy(1, 5), now) }, true, 3, 0},
	} {
		step.do()
		r := p.Report(now)
		if len(r.Inbounds) != 1 {
			t.Fatalf("%s: %+v", step.what, r)
		}
		got := r.Inbounds[0]
		want := got
		want.Listener, want.Connections, want.Seen = name, step.connections, policy.Duration(step.seen)
		if step.seen < 0 {
			want.Seen = got.Since + policy.Duration(time.Second)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.what, diff)
		}
		if got := p.News(); got != step.news {
			t.Errorf("%s: news is %v, want %v", step.what, got, step.news)
		}
	}

	p.Watch(notes(policy.ModeStrict), now)
	if r := p.Report(now); len(r.Inbounds) != 0 || !p.News() {
		t.Errorf("strict: %+v", r)
	}
	p.Watch(notes(policy.ModePermissive), now)
	p.Count(envoy(1, 5), now)
	if got := p.Report(now).Inbounds[0].Connections; got != 0 {
		t.Errorf("permissive again: %d connections, want those of before forgotten", got)
	}
}
