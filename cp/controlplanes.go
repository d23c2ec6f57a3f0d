package cp

import (
	"cmp"
	"slices"

	"koguma/policy"
)

// ControlPlanes implements [api.Fleet]: it is this one and the others.
func (f *fleet) ControlPlanes() []policy.ControlPlaneOverview {
	f.own.mu.Lock()
	proxies := len(f.own.sessions)
	f.own.mu.Unlock()
	own := policy.ControlPlaneOverview{
		InstanceID: f.own.roll.self, Version: Version(), Status: policy.ControlPlaneSelf, Since: f.own.rotations.started.UTC(), Proxies: proxies,
	}
	if f.peers == nil {
		return []policy.ControlPlaneOverview{own}
	}
	own.Address = f.peers.lease.record.Address
	all := append(f.peers.overview(), own)
	slices.SortFunc(all, func(x, y policy.ControlPlaneOverview) int {
		return cmp.Or(cmp.Compare(x.Address, y.Address), cmp.Compare(x.InstanceID, y.InstanceID))
	})
	return all
}

// overview is the peers that are not known to be gone.
func (p *peers) overview() []policy.ControlPlaneOverview {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []policy.ControlPlaneOverview
	for _, q := range p.known {
		if q.lapsed {
			continue
		}
		o := policy.ControlPlaneOverview{
			InstanceID: q.id, Address: q.address, Version: q.record.Release, Status: policy.ControlPlaneHeard, Since: q.since.UTC(),
			Proxies: p.roll.connectedTo(q.id),
		}
		if q.conn == nil {
			o.Status = policy.ControlPlaneUnheard
		}
		all = append(all, o)
	}
	return all
}

// connectedTo is how many proxies were connected to a peer when it was heard last.
func (r *roll) connectedTo(peer string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	if p := r.peers[peer]; p != nil {
		for _, s := range p.seen {
			if s.Gone == nil {
				n++
			}
		}
	}
	return n
}
