package xds

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxNames bounds what one stream may ask for of one type by name.
const maxNames = 10_000

// stream is the state of one stream, whatever its variant. It belongs to one goroutine.
type stream struct {
	wire    wire
	session Session
	nodeID  string
	pause   time.Duration // the first one before something refused is repeated; 0: nothing is
	nonces  uint64
	subs    [len(types)]subscription
}

// subscription is what a stream asked for of one type, and what it has got.
type subscription struct {
	typ      string
	asked    bool // there was a request for this type
	named    bool // the client has used names, so that an empty list no longer means everything
	wildcard bool
	names    map[string]bool

	sent    map[string]*Resource // by name; gone marks what the client was told does not exist
	nonce   string               // of the newest response
	version string               // of the set that the newest response came from
	pending bool                 // the newest response has no answer yet
	refused bool                 // the newest answer was a refusal
	torn    bool                 // a response was refused, so that what is in sent is not what the client has
	acked   string               // the version of the set of which the client has all that it asked for

	seen  *Set // the set that was looked at last
	dirty bool // the client asked for something since
	force bool // ... for all of it, even what it was sent before

	pause  time.Duration // the last one before something refused was repeated
	repeat time.Time     // when that is to be done; zero if there is nothing
}

// gone is what a client was sent of a resource that does not exist.
var gone = &Resource{}

// all reports whether the type is one whose responses are complete in the state-of-the-world variant: what they leave
// out is gone. These are also the types that a client may ask for without any name.
func all(typ string) bool { return typ == TypeListener || typ == TypeCluster }

// handle takes one request in.
func (st *stream) handle(r *request) error {
	if r.node != nil && r.node.GetId() != st.nodeID {
		return status.Errorf(codes.InvalidArgument, "the node id changed from %q within a stream", st.nodeID)
	}
	if r.typ == TypeReport {
		st.session.Observe(Event{Kind: Reported, Type: r.typ, Node: r.node})
		return nil
	}
	i := slices.Index(types[:], r.typ)
	if i < 0 {
		return nil // nothing of that type exists here, and nobody waits for it
	}
	sub := &st.subs[i]
	if !sub.asked {
		*sub = subscription{typ: r.typ, asked: true, names: map[string]bool{}, sent: map[string]*Resource{}}
		sub.dirty = true
	}
	answers := sub.pending && r.nonce == sub.nonce && (r.nack || r.version == sub.version || r.version == anyVersion)
	if answers {
		sub.pending, sub.refused = false, r.nack
	}
	switch {
	case r.nack:
		sub.refused, sub.torn = true, true
		st.postpone(sub)
		st.session.Observe(Event{Kind: Nacked, Type: r.typ, Version: sub.version, Reason: r.reason})
	case answers && sub.torn: // it took the newest, and not what came before that
	case answers:
		sub.pause = 0
		st.settle(sub, sub.version, false)
	}
	asks := st.wire.apply(sub, r, answers)
	if len(sub.names) > maxNames {
		return status.Errorf(codes.ResourceExhausted, "more than %d names asked for", maxNames)
	}
	if answers && !r.nack && sub.torn {
		sub.dirty, sub.force = true, true
	}
	if asks || r.node != nil {
		sub.dirty = true
		st.session.Observe(Event{Kind: Subscribed, Type: r.typ, Node: r.node, Names: sub.list()})
	}
	return nil
}

// settle notes that the client has all that it asked for of the set with that version.
func (st *stream) settle(sub *subscription, version string, idle bool) {
	if idle && sub.acked == version {
		return
	}
	sub.acked = version
	st.session.Observe(Event{Kind: Acked, Type: sub.typ, Version: version, Idle: idle})
}

// mostPause bounds the pause before something refused is repeated.
const mostPause = time.Minute

// postpone has what the client refused sent to it again, after a pause that doubles each time.
func (st *stream) postpone(sub *subscription) {
	if st.pause > 0 {
		sub.pause = min(max(st.pause, 2*sub.pause), mostPause)
		sub.repeat = time.Now().Add(sub.pause)
	}
}

// nextRepeat is when the first of what was refused is to be sent again, zero if nothing is.
func (st *stream) nextRepeat() time.Time {
	var first time.Time
	for i := range st.subs {
		if at := st.subs[i].repeat; !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// repeat has sent again whatever is due.
func (st *stream) repeat(now time.Time) {
	for i := range st.subs {
		if sub := &st.subs[i]; !sub.repeat.IsZero() && !now.Before(sub.repeat) {
			sub.repeat, sub.dirty, sub.force = time.Time{}, true, true
		}
	}
}

// push sends what the client lacks of the snapshot.
func (st *stream) push(s *Snapshot) error {
	if s == nil {
		return nil
	}
	for i := range st.subs {
		if err := st.pushType(&st.subs[i], s); err != nil {
			return err
		}
	}
	return nil
}

func (st *stream) pushType(sub *subscription, s *Snapshot) error {
	if !sub.asked {
		return nil
	}
	set := s.Of(sub.typ)
	if sub.typ == TypeCluster {
		set = st.keepUsed(sub, s)
	}
	if sub.seen == set && !sub.dirty && sub.version != "" {
		return nil
	}
	resp := st.wire.answer(sub, set)
	if resp != nil && sub.torn {
		sub.force = true // all of it, so that who takes it has it all
		if whole := st.wire.answer(sub, set); whole != nil {
			whole.removed = append(whole.removed, resp.removed...)
			resp = whole
		}
		sub.torn = false
	}
	sub.seen, sub.dirty, sub.force = set, false, false
	if resp == nil {
		if !sub.pending && !sub.refused {
			st.settle(sub, set.Version(), true)
		}
		return nil
	}
	st.nonces++
	resp.typ, resp.version, resp.nonce = sub.typ, set.Version(), strconv.FormatUint(st.nonces, 10)
	sub.nonce, sub.version, sub.pending, sub.repeat = resp.nonce, resp.version, true, time.Time{}
	for _, r := range resp.resources {
		sub.sent[r.Name] = r
	}
	if err := st.wire.send(resp); err != nil {
		return err
	}
	st.session.Observe(Event{Kind: Sent, Type: sub.typ, Version: resp.version})
	return nil
}

// keepUsed is the set of clusters to send now: as long as the client has not taken the listeners of the same snapshot,
// its old ones may still use clusters that are to go, so those stay a little longer.
func (st *stream) keepUsed(sub *subscription, s *Snapshot) *Set {
	lds := &st.subs[slices.Index(types[:], TypeListener)]
	if !lds.asked || lds.acked == s.Listeners.Version() {
		return s.Clusters
	}
	var kept []*Resource
	for name, r := range sub.sent {
		if r != gone && r.Body != nil && s.Clusters.Get(name) == nil {
			kept = append(kept, r)
		}
	}
	if kept == nil {
		return s.Clusters
	}
	return NewSet(append(kept, s.Clusters.All()...)...)
}

// wants reports whether the client asked for the resource with that name.
func (sub *subscription) wants(name string) bool { return sub.wildcard || sub.names[name] }

// list is what the client asks for by name, nil if it asks for everything.
func (sub *subscription) list() []string {
	if sub.wildcard {
		return nil
	}
	return append([]string{}, slices.Sorted(maps.Keys(sub.names))...)
}

// add and drop change what the client asks for by one name. "*" stands for everything.
func (sub *subscription) add(name string) {
	sub.named = true
	if name == "*" {
		sub.wildcard = true
		return
	}
	sub.names[name] = true
}

func (sub *subscription) drop(name string) {
	if name == "*" {
		sub.wildcard = false
	} else {
		delete(sub.names, name)
	}
}
