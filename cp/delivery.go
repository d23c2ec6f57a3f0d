package cp

import (
	"slices"
	"sync"
	"time"

	"koguma/policy"
	"koguma/xds"
)

// delivery is what the proxy of a session should have, and what of that it has said that it has. Only its ACK of a set
// says so, and for all that is in the set. The zero value is ready to use, from several goroutines.
type delivery struct {
	mu      sync.Mutex
	due     time.Time // since when there is a view that is not in the snapshot; zero if there is none
	unclear bool      // there is a view to come, which cannot be made yet
	types   map[string]*progress
	by      string // the authority by which a certificate may be being made
	lacks   bool   // a certificate that it asked for

	// states are what the proxy may do with its secrets: the first is what it has ACKed last, the others were sent
	// since. Without an ACK on this stream or one before, the first is not known, and known is false.
	states []secretState
	known  bool
}

// progress is how far the proxy is with the resources of one type.
type progress struct {
	asked   bool
	needed  bool // there are some, so that it should ask
	wanted  string
	acked   string
	refusal string
	since   time.Time // when wanted came to be so
}

// secretState is what a proxy does that has taken a set of secrets: by which authorities it verifies others, and with
// which certificates it shows itself.
type secretState struct {
	Roots  []string    `json:"roots,omitempty"` // fingerprints; nil where it has not asked for roots
	Leaves []leafInUse `json:"leaves,omitempty"`
	// RootsAt and LeavesAt are when it ACKed that it verifies by other roots than before, and that it shows itself with
	// certificates of other authorities. They are zero where there was nothing before.
	RootsAt  time.Time `json:"rootsAt,omitzero"`
	LeavesAt time.Time `json:"leavesAt,omitzero"`
	Blank    bool      `json:"blank,omitempty"` // it came with nothing from before
}

// signers are the authorities of the certificates, sorted.
func (s *secretState) signers() []string {
	var list []string
	for _, l := range s.Leaves {
		list = append(list, l.Authority)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// after dates a state that was ACKed after another one; nil is that nothing is known of before.
func (s *secretState) after(last *secretState, now time.Time) {
	switch {
	case last == nil && s.Blank:
	case last == nil:
		s.RootsAt, s.LeavesAt = now, now
	default:
		if s.RootsAt = last.RootsAt; !slices.Equal(s.Roots, last.Roots) {
			s.RootsAt = now
		}
		if s.LeavesAt = last.LeavesAt; !slices.Equal(s.signers(), last.signers()) {
			s.LeavesAt = now
		}
	}
}

// leafInUse is a certificate of a service.
type leafInUse struct {
	Service   string    `json:"service"`
	Serial    string    `json:"serial"`
	Authority string    `json:"authority"` // fingerprint
	NotAfter  time.Time `json:"notAfter"`
}

// deliveredTypes are the types by the names that people know, in the order in which they go out.
var deliveredTypes = [...]struct{ url, name string }{
	{xds.TypeSecret, "secrets"}, {xds.TypeCluster, "clusters"}, {xds.TypeEndpoint, "endpoints"}, {xds.TypeListener, "listeners"},
}

// of is the progress of a type. The caller holds the lock.
func (d *delivery) of(typ string) *progress {
	if d.types == nil {
		d.types = map[string]*progress{}
	}
	p := d.types[typ]
	if p == nil {
		p = &progress{}
		d.types[typ] = p
	}
	return p
}

// offered notes that the proxy should have something else from now on, which is to be made.
func (d *delivery) offered(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.due.IsZero() {
		d.due = now
	}
}

// looked notes whether the proxy was offered what follows from the store, or that is not clear yet.
func (d *delivery) looked(clear bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unclear = !clear
}

// signing notes that a certificate of this authority may be being made for the proxy, or that none is. It reports whether that is
// new.
func (d *delivery) signing(auth *trust, lacks bool) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.by
	d.by, d.lacks = "", auth != nil && lacks
	if d.lacks {
		d.by = auth.fingerprint
	}
	return d.by != last
}

// built notes what the proxy should have; latest is whether that follows from the newest view.
func (d *delivery) built(s *xds.Snapshot, latest bool, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if latest {
		d.due = time.Time{}
	}
	for _, t := range deliveredTypes {
		p, set := d.of(t.url), s.Of(t.url)
		// Who has neither listeners nor clusters refers to no secret and no endpoint.
		p.needed = t.url == xds.TypeListener || t.url == xds.TypeCluster || len(set.All()) > 0 && len(s.Listeners.All()) > 0
		if v := set.Version(); v != p.wanted {
			p.wanted, p.since = v, now
		}
	}
}

// observe takes in what happened on the stream. state is what the newest set of secrets, as far as it was asked for, has
// the proxy do.
func (d *delivery) observe(e xds.Event, state func() secretState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.of(e.Type)
	switch e.Kind {
	case xds.Subscribed:
		p.asked = e.Names == nil || len(e.Names) > 0
	case xds.Sent:
		if e.Type == xds.TypeSecret {
			d.states = append(d.states, state())
		}
	case xds.Acked:
		p.acked, p.refusal = e.Version, ""
		if e.Type != xds.TypeSecret {
			return
		}
		// An ACK is always one of the newest response.
		last := state()
		if n := len(d.states); !e.Idle && n > 0 {
			last = d.states[n-1]
		}
		var before *secretState
		if d.known {
			before = &d.states[0]
		}
		last.after(before, time.Now())
		d.states, d.known = []secretState{last}, true
	case xds.Nacked:
		p.refusal = e.Reason
	}
}

// inherit has the session of a proxy begin with what is known from the one before. It reports whether that makes a difference.
func (d *delivery) inherit(last secretUse) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known || !last.Known {
		return false
	}
	d.states, d.known = slices.Concat(last.States, d.states), true
	return true
}

// stillMaking is why a proxy lacks what it was not sent yet.
const stillMaking = "the control plane is still making its configuration"

// pending is what the proxy does not have yet of what it was offered, empty if it has all.
func (d *delivery) pending() []policy.Pending {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unclear || !d.due.IsZero() || d.types == nil {
		return []policy.Pending{{Reason: stillMaking, Since: d.due}}
	}
	var all []policy.Pending
	for _, t := range deliveredTypes {
		p := d.of(t.url)
		if p.acked == p.wanted || !p.asked && !p.needed {
			continue
		}
		reason := "it has not said that it has them"
		switch {
		case !p.asked:
			reason = "it has not asked for them"
		case p.refusal != "":
			reason = "it refused them, and keeps those that it had"
		}
		all = append(all, policy.Pending{Type: t.name, Reason: reason, Refusal: p.refusal, Since: p.since})
	}
	if d.lacks {
		all = append(all, policy.Pending{Type: deliveredTypes[0].name, Reason: "its certificate is being made"})
	}
	return all
}

// secrets is what is known of the proxy's use of secrets.
func (d *delivery) secrets() secretUse {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.of(xds.TypeSecret)
	return secretUse{States: slices.Clone(d.states), Known: d.known, Asked: p.asked, Refusal: p.refusal, Signing: d.by}
}

// secretUse is what is known of a proxy's use of secrets.
type secretUse struct {
	States  []secretState `json:"states,omitempty"`  // that it may be in
	Known   bool          `json:"known,omitempty"`   // it is in one of them
	Asked   bool          `json:"asked,omitempty"`   // for secrets, on the stream that is open
	Refusal string        `json:"refusal,omitempty"` // of the newest secrets, "" if it did not refuse them
	Signing string        `json:"signing,omitempty"` // the authority by which a certificate may be being made for it
	Since   time.Time     `json:"since,omitzero"`    // when it was heard of last; zero while it is connected
}

// over reports whether all certificates that the proxy may use have ended.
func (u *secretUse) over(now time.Time) bool {
	for _, s := range u.States {
		for _, l := range s.Leaves {
			if now.Before(l.NotAfter) {
				return false
			}
		}
	}
	return true
}

// all reports whether the proxy is known to do something, whichever of the states it is in.
func (u *secretUse) all(f func(*secretState) bool) bool {
	for i := range u.States {
		if !f(&u.States[i]) {
			return false
		}
	}
	return u.Known
}
