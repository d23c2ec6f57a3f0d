package xds

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"koguma/policy"
)

// Builder builds snapshots. It remembers the resources that are in use, so that what many proxies share is built once
// and held once. The zero value is ready to use, from several goroutines.
type Builder struct {
	resources memo[Resource]
	chains    memo[listenerv3.FilterChain] // parts of listeners that all replicas of a service have
}

// Build is the snapshot for a view, without identities: those are the proxy's own and joined by [Snapshot.WithSecrets].
// It fails rather than leave out what it cannot express.
func (b *Builder) Build(v *View) (*Snapshot, error) {
	s := collector{memo: &b.resources}
	for i := range v.Inbounds {
		in := &v.Inbounds[i]
		s.add(&s.clusters, workloadKey{in.Workload, in.Protocol}, workloadCluster(in))
		key := inboundKey{
			v.Mesh, in.Listen, in.Workload, in.Service, in.Protocol, v.MTLS, in.Service == v.Service,
			textOf(in.Sources), textOf(in.Doubted), strings.Join(in.Callers, " "), v.Withdrawn.rounds(in.Callers), v.Mode, v.Notes, v.noteOf(in),
		}
		s.add(&s.listeners, key, b.inboundListener(v, in))
	}
	for i := range v.Outbounds {
		out := &v.Outbounds[i]
		cluster := out.Endpoints.Cluster
		s.add(&s.clusters, clusterKey{v.Mesh, v.Service, v.Names, out.Service, cluster, out.Protocol, v.MTLS && !out.Plain, v.clusterNote()}, serviceCluster(v, out))
		s.add(&s.endpoints, out.Endpoints, loadAssignment(out.Endpoints))
		s.add(&s.listeners, outboundKey{out.Listen, cluster, out.Protocol, v.Withdrawn.round(out.Service)}, outboundListener(v, out))
	}
	if v.MTLS {
		s.add(&s.secrets, trustKey{v.Mesh, v.Roots, v.Withdrawn.crl()}, trustSecret(v))
	}
	snapshot := &Snapshot{
		Secrets: s.set(s.secrets), Clusters: s.set(s.clusters), Endpoints: s.set(s.endpoints), Listeners: s.set(s.listeners),
	}
	if s.err != nil {
		return nil, s.err
	}
	return snapshot, nil
}

// The keys hold whatever a resource is made from, so that equal keys mean equal bytes.
type (
	workloadKey struct {
		workload netip.AddrPort
		protocol policy.Protocol
	}
	inboundKey struct {
		mesh             string
		listen, workload netip.AddrPort
		service          string
		protocol         policy.Protocol
		mtls, first      bool
		sources, doubted string
		callers          string
		rounds, mode     string
		notes            bool
		note             Note
	}
	clusterKey struct {
		mesh, source, names, service, cluster string
		protocol                              policy.Protocol
		mtls                                  bool
		note                                  Note
	}
	// chainKey leaves out where the listener listens, which only TCP's statistics are named for.
	chainKey struct {
		mesh, service, source string
		sources, doubted      string
		first, once           bool
		protocol              policy.Protocol
		workload, listen      netip.AddrPort
		round                 int
		notes                 bool
	}
	outboundKey struct {
		listen   netip.AddrPort
		cluster  string
		protocol policy.Protocol
		round    int
	}
	trustKey struct{ mesh, roots, crl string }
)

// textOf is sources as a part of a key.
func textOf(sources []policy.Source) string {
	var all strings.Builder
	for _, s := range sources {
		all.WriteString(s.String() + "\n")
	}
	return all.String()
}

// collector gathers the resources of one snapshot, and the first error.
type collector struct {
	memo                                    *memo[Resource]
	secrets, clusters, endpoints, listeners []*Resource
	err                                     error
}

// named is a message that is built only if nobody has it yet.
type named struct {
	name  string
	build func() proto.Message
}

// marshal is the resource with the message.
func (n named) marshal() (*Resource, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(n.build())
	if err != nil {
		return nil, fmt.Errorf("resource %q: %w", n.name, err)
	}
	return NewResource(n.name, body), nil
}

// add adds a resource to a list.
func (c *collector) add(to *[]*Resource, key any, n named) {
	r, err := c.memo.get(key, n.marshal)
	if err != nil {
		c.err = err
		return
	}
	*to = append(*to, r)
}

// set is the set of what was added, each once. Two that share a name must be the same.
func (c *collector) set(of []*Resource) *Set {
	slices.SortFunc(of, func(a, b *Resource) int { return cmp.Compare(a.Name, b.Name) })
	return NewSet(slices.CompactFunc(of, func(a, b *Resource) bool {
		if a.Name == b.Name && a.Version != b.Version {
			c.err = fmt.Errorf("two different resources are called %q", a.Name)
		}
		return a.Name == b.Name
	})...)
}
