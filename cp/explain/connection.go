package explain

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"koguma/policy"
)

// Confidant knows how proxies stand.
type Confidant interface {
	// Standing is how the proxy of a Dataplane stands, or did when it was connected last.
	Standing(key policy.Key) Standing
	// Revoked reports whether a token is on the list of its mesh.
	Revoked(mesh, token string) bool
	// Withdrawn reports whether a certificate of a mesh is not to be accepted any more.
	Withdrawn(mesh string, leaf *x509.Certificate) bool
}

const (
	// MostPairs bounds how many pairs are listed, MostTrials how many are looked at, and mostRemedies for how many it is
	// looked which permission would help: everybody may ask.
	MostPairs    = 100
	MostTrials   = 1000
	mostRemedies = 10
)

// resolve finds the Dataplanes that are meant: those of a service, or the one of that name. A service goes before a
// Dataplane, unless "proxy:" stands before the name.
func resolve(name string, all []*policy.Dataplane) (p policy.Party, found []*policy.Dataplane, note string) {
	kind, rest, prefixed := strings.Cut(name, ":")
	if prefixed = prefixed && (kind == policy.PartyService || kind == policy.PartyProxy); prefixed {
		name = rest
	} else {
		kind = ""
	}
	var services, proxies []*policy.Dataplane
	for _, d := range all {
		if slices.Contains(d.Services(), name) {
			services = append(services, d)
		}
		if d.Name == name {
			proxies = append(proxies, d)
		}
	}
	p = policy.Party{Kind: kind, Name: name}
	switch {
	case kind == policy.PartyProxy:
		return p, proxies, ""
	case kind == policy.PartyService:
		return p, services, ""
	case len(services) > 0:
		p.Kind = policy.PartyService
		if len(proxies) > 0 {
			note = fmt.Sprintf("%q is a service and a proxy; the service was taken, and proxy:%s is the other", name, name)
		}
		return p, services, note
	case len(proxies) > 0:
		p.Kind = policy.PartyProxy
	}
	return p, proxies, ""
}

// Connection says whether one service or proxy reaches another, at a port or, where that is 0, at any: it tries each proxy of
// the one with each inbound of the other.
func (x *Explainer) Connection(from, to string, port int) policy.Connection {
	var inMesh []*policy.Dataplane
	for _, d := range x.Dataplanes {
		if d.Mesh == x.Mesh.Name {
			inMesh = append(inMesh, d)
		}
	}
	c := policy.Connection{Mesh: x.Mesh.Name, Verdict: policy.Denied, Pairs: []policy.ConnectionPair{}}
	var sources, destinations []*policy.Dataplane
	for _, party := range []struct {
		name string
		as   *policy.Party
		all  *[]*policy.Dataplane
	}{{from, &c.From, &sources}, {to, &c.To, &destinations}} {
		var note string
		if *party.as, *party.all, note = resolve(party.name, inMesh); note != "" {
			c.Notes = append(c.Notes, note)
		}
		if len(*party.all) == 0 {
			c.Cause = x.missing(*party.as)
			return c
		}
	}
	known, unknown := x.Meet(namesOfBoth(sources, destinations))
	c.Notes = append(c.Notes, unknown...)
	e := &explanation{Explainer: x, Confidant: known, inMesh: inMesh, remedies: map[string]string{}}
	e.try(&c, sources, destinations, port)
	if len(c.Pairs) == 0 {
		c.Cause = because(policy.CauseNoSuchPort, "see kumactl get dataplane", "%s has no inbound", c.To)
		if port != 0 {
			c.Cause = because(policy.CauseNoSuchPort, "leave --port out to see all", "%s has no inbound at port %d", c.To, port)
		}
	}
	return c
}

// namesOfBoth are the names of the Dataplanes on both sides, each once.
func namesOfBoth(sources, destinations []*policy.Dataplane) []string {
	var names []string
	for _, d := range slices.Concat(sources, destinations) {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// missing says that nobody in the mesh is the one that was asked for, and where somebody is.
func (x *Explainer) missing(p policy.Party) *policy.Cause {
	_, elsewhere, _ := resolve(p.String(), x.Dataplanes)
	var meshes []string
	for _, d := range elsewhere {
		if !slices.Contains(meshes, d.Mesh) {
			meshes = append(meshes, d.Mesh)
		}
	}
	if len(meshes) > 0 {
		return because(policy.CauseWrongMesh, "connections do not go from one mesh to another; ask with --mesh "+meshes[0],
			"%s is not in mesh %s; it is in %s", p, x.Mesh.Name, strings.Join(meshes, ", "))
	}
	if p.Kind == policy.PartyProxy {
		return because(policy.CauseNoSuchProxy, "see kumactl get dataplanes --mesh "+x.Mesh.Name, "there is no Dataplane %s", p.Name)
	}
	return because(policy.CauseNoSuchService, "see kumactl get dataplanes --mesh "+x.Mesh.Name+", and whether its kuma-dp runs",
		"no Dataplane stands for service %s, and none has that name", p.Name)
}

// try adds the pairs, and the verdict that follows.
func (x *explanation) try(c *policy.Connection, sources, destinations []*policy.Dataplane, port int) {
	sides := map[string]*side{}
	sideOf := func(d *policy.Dataplane) *side {
		if sides[d.Name] == nil {
			sides[d.Name] = newSide(d, x.Standing(d.Key()))
		}
		return sides[d.Name]
	}
	trials, allowed := 0, 0
	for _, d := range destinations {
		for i := range d.Networking.Inbound {
			in := &d.Networking.Inbound[i]
			if c.To.Kind == policy.PartyService && in.Service() != c.To.Name || port != 0 && in.Port != port {
				continue
			}
			for _, s := range sources {
				if trials++; trials > MostTrials {
					continue
				}
				p := x.pair(sideOf(s), sideOf(d), in)
				if c.From.Kind == policy.PartyService && p.As != c.From.Name {
					p.Warnings = append(p.Warnings, *because(policy.CauseDialsAs, "ask for "+p.As,
						"%s dials as its first service, %s, and not as %s", p.From, p.As, c.From.Name))
				}
				if p.Allowed {
					allowed++
				}
				c.Pairs = append(c.Pairs, p)
			}
		}
	}
	switch {
	case allowed == len(c.Pairs) && allowed > 0:
		c.Verdict = policy.Allowed
	case allowed > 0:
		c.Verdict = policy.Partly
	}
	if trials > MostTrials {
		c.Notes = append(c.Notes, fmt.Sprintf("the verdict is about %d of %d pairs", MostTrials, trials))
	}
	slices.SortStableFunc(c.Pairs, func(a, b policy.ConnectionPair) int { return cmp.Compare(rankOf(a), rankOf(b)) })
	listed := min(len(c.Pairs), MostPairs)
	c.More, c.Pairs = trials-listed, c.Pairs[:listed]
}

// rankOf has those that are denied come first.
func rankOf(p policy.ConnectionPair) int {
	if p.Allowed {
		return 1
	}
	return 0
}
