package agent

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/prometheus/client_golang/prometheus"

	"koguma/policy"
	"koguma/xds"
)

// ratchet sees to it that traffic which was under mTLS is not in plaintext later, unless somebody has changed the Mesh to
// say so. Whatever else makes the control plane send such a configuration, be it an error, an older version or an older
// store, the response is refused as a whole, and the last good one stays.
//
// What it remembers lives as long as the agent. An agent that has just been started believes what it is told, unless that
// contradicts itself.
type ratchet struct {
	strict
	refusals prometheus.Counter

	mu        sync.Mutex
	locked    *said           // that mTLS is STRICT; nil until somebody has said so, and after it was taken back
	services  map[string]bool // the clusters that have been dialled under mTLS
	workloads map[string]bool // the clusters of the newest response that lead to workloads of this proxy
}

// said is the state of the Mesh that said something; zero where the control plane does not tell.
type said struct{ created, changed int64 }

func newRatchet(mesh string) *ratchet {
	return &ratchet{
		strict: strict{mesh},
		refusals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kuma_dp_plaintext_refused_total",
			Help: "Configurations that were refused because traffic that was under mTLS would not be any more.",
		}),
		services: map[string]bool{},
	}
}

// judged is a resource, and what lets it be anything but strict.
type judged struct {
	name string
	note xds.Note
	hole error // nil if it is strict
}

// listeners takes note of what is in a response with listeners, or refuses it. A listener is an inbound unless it says
// otherwise and leads to no workload of this proxy.
func (r *ratchet) listeners(all []*listenerv3.Listener, notes map[string]xds.Note) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []judged
	for _, l := range all {
		note := notes[l.GetName()]
		outbound := l.GetTrafficDirection() == corev3.TrafficDirection_OUTBOUND && note == (xds.Note{})
		if !outbound || leadsTo(l, r.workloads) {
			list = append(list, judged{l.GetName(), note, r.strict.listener(l)})
		}
	}
	return r.pass(list)
}

// clusters takes note of what is in a response with clusters, or refuses it. Those of fixed addresses are the workloads of
// this proxy, unless they were something else before.
func (r *ratchet) clusters(all []*clusterv3.Cluster, notes map[string]xds.Note) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []judged
	workloads := map[string]bool{}
	for _, c := range all {
		name, note := c.GetName(), notes[c.GetName()]
		fixed := c.GetClusterType() == nil && c.GetType() == clusterv3.Cluster_STATIC
		if fixed && note == (xds.Note{}) && !r.services[name] {
			workloads[name] = true
		} else {
			list = append(list, judged{name, note, r.strict.cluster(c)})
		}
	}
	if err := r.pass(list); err != nil {
		return err
	}
	r.workloads = workloads
	for _, j := range list {
		r.services[j.name] = r.services[j.name] || j.hole == nil
	}
	return nil
}

// pass refuses a response with a hole for which there is no leave. Otherwise what the newest note in it says holds from
// now on; a response with nothing in it says nothing. The caller holds the lock.
func (r *ratchet) pass(list []judged) error {
	for _, j := range list {
		if j.hole == nil {
			continue
		}
		if err := r.leave(j.note); err != nil {
			r.refusals.Inc()
			return fmt.Errorf("%q would let plaintext through (%w), and %w", j.name, j.hole, err)
		}
	}
	if len(list) == 0 {
		return nil
	}
	newest := slices.MaxFunc(list, func(a, b judged) int { return cmp.Compare(a.note.MeshChanged, b.note.MeshChanged) })
	switch n := newest.note; {
	case plain(n.Mode):
		if r.leave(n) == nil {
			r.locked = nil
		}
	case newest.hole != nil: // as it has been since the agent was started
	case r.locked == nil || n.MeshChanged > r.locked.changed:
		r.locked = &said{n.MeshCreated, n.MeshChanged}
	}
	return nil
}

// plain reports whether a mode lets plaintext in.
func plain(mode string) bool { return mode == policy.ModePermissive || mode == xds.ModeOff }

// leave says why a note gives no leave to plaintext.
func (r *ratchet) leave(n xds.Note) error {
	switch {
	case n.Mode == "" && r.locked == nil:
		// A control plane without notes, in a mesh that has had no mTLS as long as we know. To refuse would keep every
		// such mesh from working.
		return nil
	case n.Mode == "":
		return errors.New("nobody has changed the Mesh to say so")
	case !plain(n.Mode):
		return fmt.Errorf("the Mesh says %s", n.Mode)
	case r.locked == nil || r.locked.created == 0:
		return nil
	case r.locked.created != n.MeshCreated:
		return fmt.Errorf("the Mesh that says %s is another than the one that said %s; restart kuma-dp if it is meant", n.Mode, policy.ModeStrict)
	case r.locked.changed >= n.MeshChanged:
		return fmt.Errorf("the Mesh that says %s is older than the one that said %s, as after a restore; change it, if only a label, if it is meant",
			n.Mode, policy.ModeStrict)
	}
	return nil
}
