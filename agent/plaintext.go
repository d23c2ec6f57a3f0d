package agent

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"koguma/envoy"
	"koguma/policy"
	"koguma/xds"
)

// metaReport is the key, in the node's metadata, of what the agent reports.
const metaReport = "dataplane.report"

const (
	// plaintextPoll is how often Envoy is asked, while there is a permissive inbound, who came without mTLS. It is also the
	// shortest time between two reports.
	plaintextPoll = 2 * time.Second
	// maxReported is of how many inbounds a report tells at most.
	maxReported = 128
)

// plaintext counts what comes to the permissive inbounds without mTLS, from Envoy's own statistics.
type plaintext struct {
	news chan struct{} // has a value when there is something that the control plane has not been told

	mu       sync.Mutex
	inbounds map[string]*counted // by the name of the listener
}

// counted is one inbound that is permissive, or was.
type counted struct {
	permissive  bool
	served      bool // Envoy has been seen to serve it so
	since, seen time.Time
	total       xds.Plaintext // since then
	last        xds.Plaintext // of Envoy, when it was asked last
}

func newPlaintext() *plaintext {
	return &plaintext{news: make(chan struct{}, 1), inbounds: map[string]*counted{}}
}

// watch begins to count at the inbounds that the notes of all listeners call permissive, and ends elsewhere.
func (p *plaintext) watch(notes map[string]xds.Note, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, c := range p.inbounds {
		if c.permissive && notes[name].Mode != policy.ModePermissive {
			c.permissive = false
			p.tell()
		}
	}
	for name, n := range notes {
		c := p.inbounds[name]
		if n.Mode != policy.ModePermissive || c != nil && c.permissive {
			continue
		}
		if c == nil {
			c = new(counted)
			p.inbounds[name] = c
		}
		// Envoy may go on with the counters of an earlier time.
		*c = counted{permissive: true, since: now, last: c.last}
	}
}

// tell has the control plane told.
func (p *plaintext) tell() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// run asks Envoy until ctx ends. An Envoy that cannot be asked has just been started, or is about to be. One that has not
// taken its listeners into use serves others still, of which there is nothing to tell.
func (p *plaintext) run(ctx context.Context, admin envoy.Admin, taken func() bool) {
	tick := time.NewTicker(plaintextPoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !p.watching() || !taken() {
			continue
		}
		const warming = "listener_manager.total_listeners_warming"
		stats, err := admin.Stats(ctx, xds.PlaintextStats+"|^"+warming+"$")
		if at, ok := stats[warming]; err == nil && ok && at == 0 {
			p.count(stats, time.Now())
		}
	}
}

func (p *plaintext) watching() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.inbounds {
		if c.permissive {
			return true
		}
	}
	return false
}

// count takes in Envoy's statistics.
func (p *plaintext) count(stats map[string]uint64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, c := range p.inbounds {
		if !c.permissive {
			continue
		}
		before, cur := c.total, xds.PlaintextOf(name, stats)
		c.total.Connections += growth(c.last.Connections, cur.Connections)
		c.total.Requests += growth(c.last.Requests, cur.Requests)
		c.total.ForeignTLS += growth(c.last.ForeignTLS, cur.ForeignTLS)
		c.total.Bytes += growth(c.last.Bytes, cur.Bytes)
		c.last = cur
		if c.total != before {
			c.seen = now
		}
		if c.total != before || !c.served {
			c.served = true
			p.tell()
		}
	}
}

// growth is by how much a counter has grown. One that is less than it was has begun anew, with another Envoy.
func growth(last, cur uint64) uint64 {
	if cur < last {
		return cur
	}
	return cur - last
}

// report is what the control plane is told; nil if there never was a permissive inbound.
func (p *plaintext) report(now time.Time) *policy.PlaintextReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.inbounds) == 0 {
		return nil
	}
	r := &policy.PlaintextReport{Inbounds: []policy.PlaintextCount{}}
	for _, name := range slices.Sorted(maps.Keys(p.inbounds)) {
		c := p.inbounds[name]
		if !c.permissive || !c.served || len(r.Inbounds) == maxReported {
			continue
		}
		since, seen := now.Sub(c.since), now.Sub(c.seen)
		if c.seen.IsZero() {
			seen = since + time.Second
		}
		r.Inbounds = append(r.Inbounds, policy.PlaintextCount{
			Listener: name, Connections: c.total.Connections, Requests: c.total.Requests, ForeignTLS: c.total.ForeignTLS,
			Since: policy.Duration(since.Truncate(time.Second)), Seen: policy.Duration(seen.Truncate(time.Second)),
		})
	}
	return r
}

// report tells the control plane who came without mTLS. It asks for nothing, and there is no answer.
func (u *upstream) report() error {
	r := u.agent.plaintext.report(time.Now())
	if r == nil {
		return nil
	}
	text, err := policy.Encode(r)
	if err != nil {
		return err
	}
	fields := map[string]*structpb.Value{metaReport: structpb.NewStringValue(strings.TrimSpace(string(text)))}
	return u.stream.Send(&discoveryv3.DiscoveryRequest{
		TypeUrl: xds.TypeReport,
		Node:    &corev3.Node{Id: u.agent.nodeID(), Cluster: u.agent.cluster(), Metadata: &structpb.Struct{Fields: fields}},
	})
}
