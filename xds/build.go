package xds

import (
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/proto"

	"koguma/policy"
)

// Builder builds snapshots. It remembers the resources that are in use, so that what many proxies share is built once
// and held once. The zero value is ready to use, from several goroutines.
type Builder struct {
	memo memo
}

// Build is the snapshot for a view, without identities: those are the proxy's own and joined by [Snapshot.WithSecrets].
// It fails rather than leave out what it cannot express.
func (b *Builder) Build(v *View) (*Snapshot, error) {
	s := collector{memo: &b.memo}
	for i := range v.Inbounds {
		in := &v.Inbounds[i]
		s.add(&s.clusters, workloadKey{in.Workload, in.Protocol}, workloadCluster(in))
		key := inboundKey{
			v.Mesh, in.Listen, in.Workload, in.Service, in.Protocol, v.MTLS, in.Service == v.Service, in.Any,
			strings.Join(in.Sources, " "),
		}
		s.add(&s.listeners, key, inboundListener(v, in))
	}
	for i := range v.Outbounds {
		out := &v.Outbounds[i]
		cluster := out.Endpoints.Cluster
		s.add(&s.clusters, clusterKey{v.Mesh, v.Service, out.Service, cluster, out.Protocol, v.MTLS}, serviceCluster(v, out))
		s.add(&s.endpoints, out.Endpoints, loadAssignment(out.Endpoints))
		s.add(&s.listeners, outboundKey{out.Listen, cluster, out.Protocol}, outboundListener(out))
	}
	if v.MTLS {
		s.add(&s.secrets, trustKey{v.Mesh, v.Roots}, trustSecret(v))
	}
	if s.err != nil {
		return nil, s.err
	}
	return &Snapshot{
		Secrets:   NewSet(s.secrets...),
		Clusters:  NewSet(s.clusters...),
		Endpoints: NewSet(s.endpoints...),
		Listeners: NewSet(s.listeners...),
	}, nil
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
		mtls, first, any bool
		sources          string
	}
	clusterKey struct {
		mesh, source, service, cluster string
		protocol                       policy.Protocol
		mtls                           bool
	}
	outboundKey struct {
		listen   netip.AddrPort
		cluster  string
		protocol policy.Protocol
	}
	trustKey struct{ mesh, roots string }
)

// collector gathers the resources of one snapshot, and the first error.
type collector struct {
	memo                                    *memo
	secrets, clusters, endpoints, listeners []*Resource
	err                                     error
}

// named is a message that is built only if nobody has it yet.
type named struct {
	name  string
	build func() proto.Message
}

// add adds a resource to a list, once under each name. Two that share a name must be the same.
func (c *collector) add(to *[]*Resource, key any, n named) {
	if c.err != nil {
		return
	}
	r, err := c.memo.get(key, n)
	if err != nil {
		c.err = err
		return
	}
	for _, have := range *to {
		if have.Name != r.Name {
			continue
		}
		if have.Version != r.Version {
			c.err = fmt.Errorf("two different resources are called %q", r.Name)
		}
		return
	}
	*to = append(*to, r)
}
