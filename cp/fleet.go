package cp

import (
	"cmp"
	"context"
	"crypto/x509"
	"slices"
	"time"

	"koguma/cp/api"
	"koguma/cp/explain"
	"koguma/policy"
)

// fleet knows of the proxies of all control planes of the store: those of this one by itself, and of the others what it asks them.
type fleet struct {
	own   *reconciler
	peers *peers // nil where the store is not shared
}

// ask is what the other control planes answer, as far as it is newer than what is known here.
func (f *fleet) ask(ctx context.Context, q api.Question) *census {
	tallies, silent := f.peers.ask(ctx, q)
	c := &census{own: f.own, accounts: map[policy.Key]account{}}
	for _, address := range silent {
		c.silent = append(c.silent, "control plane "+address+" does not answer, so how its proxies are is not known")
	}
	for _, all := range tallies {
		for _, a := range all {
			if old, ok := c.accounts[a.key()]; !ok || a.newer(&old) {
				c.accounts[a.key()] = a
			}
		}
	}
	if len(c.accounts) == 0 {
		return c
	}
	for _, a := range f.own.present(q) {
		if other, ok := c.accounts[a.key()]; ok && !other.newer(&a) {
			delete(c.accounts, a.key())
		}
	}
	return c
}

// census is what this control plane knows of its proxies, and the others of theirs, as of when they were asked.
type census struct {
	own      *reconciler
	accounts map[policy.Key]account // of those of whom another control plane knows more
	silent   []string
}

// Insight implements [api.Watcher].
func (c *census) Insight(key policy.Key) policy.DataplaneInsight {
	a, ok := c.accounts[key]
	if !ok || a.Insight == nil {
		return c.own.Insight(key)
	}
	insight := *a.Insight
	insight.Plaintext = a.Plaintext
	return insight
}

// Identity implements [api.Watcher].
func (c *census) Identity(key policy.Key) policy.ProxyIdentity {
	if a, ok := c.accounts[key]; ok && a.Identity != nil {
		return *a.Identity
	}
	return c.own.Identity(key)
}

// Tokens implements [api.Watcher]. Whether they are good is judged here: the keys are those of all.
func (c *census) Tokens(mesh string) []api.TokenInUse {
	all := slices.DeleteFunc(c.own.Tokens(mesh), func(t api.TokenInUse) bool {
		_, moved := c.accounts[t.Proxy]
		return moved
	})
	v, now := c.own.keys.verifier(), time.Now()
	for key, a := range c.accounts {
		if a.Token != nil {
			claims := a.Token.claims(mesh)
			all = append(all, api.TokenInUse{Proxy: key, Claims: claims, Err: v.Judge(claims, now)})
		}
	}
	return all
}

// Delivery implements [api.Courier]. A control plane that does not answer has proxies of which nobody knows what they lack.
func (c *census) Delivery(mesh string, version uint64, all []policy.Key) policy.Delivery {
	d := c.own.Delivery(mesh, version, all)
	elsewhere := func(name string) bool {
		_, ok := c.accounts[policy.Key{Type: policy.TypeDataplane, Mesh: mesh, Name: name}]
		return ok
	}
	d.Pending = slices.DeleteFunc(d.Pending, func(p policy.ProxyPending) bool { return elsewhere(p.Proxy) })
	d.Absent = slices.DeleteFunc(d.Absent, func(p policy.AbsentProxy) bool { return elsewhere(p.Proxy) })
	for key, a := range c.accounts {
		if c.own.connected(key) != nil {
			d.Proxies-- // the newer stream counts
		}
		if a.Connected {
			d.Proxies++
		}
		for _, p := range a.Pending {
			d.Pending = append(d.Pending, policy.ProxyPending{Proxy: key.Name, Pending: p})
		}
		if a.Absent != nil && slices.Contains(all, key) {
			d.Absent = append(d.Absent, *a.Absent)
		}
	}
	for _, why := range c.silent {
		d.Pending = append(d.Pending, policy.ProxyPending{Pending: policy.Pending{Reason: why}})
	}
	slices.SortStableFunc(d.Pending, func(a, b policy.ProxyPending) int { return cmp.Compare(a.Proxy, b.Proxy) })
	slices.SortFunc(d.Absent, func(a, b policy.AbsentProxy) int { return cmp.Compare(a.Proxy, b.Proxy) })
	return d
}

// Revoked and Withdrawn implement [explain.Confidant]: what they tell stands in the store.
func (c *census) Revoked(mesh, token string) bool { return c.own.Revoked(mesh, token) }
func (c *census) Withdrawn(mesh string, leaf *x509.Certificate) bool {
	return c.own.Withdrawn(mesh, leaf)
}

// Standing implements [explain.Confidant].
func (c *census) Standing(key policy.Key) explain.Standing {
	if a, ok := c.accounts[key]; ok && a.Standing != nil {
		return a.Standing.standing()
	}
	return c.own.Standing(key)
}

// Know implements [api.Fleet].
func (f *fleet) Know(ctx context.Context, q api.Question) api.Knowledge {
	if f.peers != nil {
		if c := f.ask(ctx, q); len(c.accounts) > 0 || len(c.silent) > 0 {
			return api.Knowledge{Watcher: c, Courier: c, Confidant: c, Silent: c.silent}
		}
	}
	return api.Knowledge{Watcher: f.own, Courier: f.own, Confidant: f.own}
}
