package cp

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"koguma/policy"
)

// roll is what the control planes of one store tell each other of the proxies that are connected to them. Whoever has none
// beside it keeps nothing in here.
//
// What is sighted here, others follow with a cursor. What they sight is heard, and asked for by the reconciler. Nothing of it is in
// the store: sessions go on while that is away, and an ACK is no write.
type roll struct {
	self string // the instance id of this control plane
	own  sighter
	wake func() // called when something was heard

	followers atomic.Int32 // how many cursors there are
	mu        sync.Mutex
	progress  uint64
	cursors   map[*rollCursor]bool
	peers     map[string]*peerRoll
	bygone    map[policy.Key]sighting // of proxies whose control plane is no more
	news      map[policy.Key]bool     // what was heard of, and not looked at since
	heard     bool                    // something was, and not looked at since
	loss      bool                    // a peer was lost, and that was not looked at since
}

// sighter is what a roll tells others of.
type sighter interface {
	// sighted are the proxies of which there is something to tell.
	sighted() []policy.Key
	// sight is what there is to tell of a proxy, [forgotten] if there is nothing.
	sight(policy.Key) sighting
}

// peerRoll is what is known of the proxies of another control plane.
type peerRoll struct {
	address  string
	unheard  time.Time               // since when it does not answer; zero while it does
	progress uint64                  // up to which version of the store all that is seen was offered
	seen     map[policy.Key]sighting // as of when it was heard last
	coming   map[policy.Key]sighting // of a full update that is not complete yet
}

// rollUpdate is a part of what a control plane tells. It goes over the wire as JSON.
type rollUpdate struct {
	Full      bool       `json:"full,omitempty"` // this is the begin of all, and what was known before is past
	Sightings []sighting `json:"sightings,omitempty"`
	More      bool       `json:"more,omitempty"` // what belongs to this comes next
	// Progress is up to which version of the store all proxies were offered what follows, as the sightings up to here have it. It
	// is 0 where there is more to come.
	Progress uint64    `json:"progress,omitempty"`
	Now      time.Time `json:"now"` // by the clock of who tells
}

// mostSightings bounds how many go into one update.
const mostSightings = 256

func newRoll(own sighter, wake func()) *roll {
	return &roll{
		own: own, wake: wake, cursors: map[*rollCursor]bool{}, peers: map[string]*peerRoll{},
		bygone: map[policy.Key]sighting{}, news: map[policy.Key]bool{},
	}
}

// rollCursor follows what there is to tell. It is for one goroutine.
type rollCursor struct {
	roll  *roll
	ready chan struct{}
	// The roll's mutex guards these.
	full  bool
	moved bool // the progress has changed
	dirty map[policy.Key]bool
}

// follow begins with all that there is to tell, and goes on with what changes. The caller closes the cursor.
func (r *roll) follow() *rollCursor {
	c := &rollCursor{roll: r, ready: make(chan struct{}, 1), full: true, dirty: map[policy.Key]bool{}}
	r.mu.Lock()
	r.cursors[c] = true
	r.followers.Add(1)
	r.mu.Unlock()
	all := r.own.sighted() // who comes from now on is told to the cursor
	r.mu.Lock()
	for _, key := range all {
		c.dirty[key] = true
	}
	r.mu.Unlock()
	return c
}

func (c *rollCursor) close() {
	c.roll.mu.Lock()
	defer c.roll.mu.Unlock()
	if c.roll.cursors[c] {
		delete(c.roll.cursors, c)
		c.roll.followers.Add(-1)
	}
}

// next waits until there is something to tell, or for the end of the context, whose error it returns then. What changed more
// than once meanwhile is told as it is now.
func (c *rollCursor) next(ctx context.Context) (rollUpdate, error) {
	for {
		if u, ok := c.take(); ok {
			return u, nil
		}
		select {
		case <-c.ready:
		case <-ctx.Done():
			return rollUpdate{}, ctx.Err()
		}
	}
}

func (c *rollCursor) take() (u rollUpdate, ok bool) {
	c.roll.mu.Lock()
	if !c.full && !c.moved && len(c.dirty) == 0 {
		c.roll.mu.Unlock()
		return u, false
	}
	u.Full, c.full = c.full, false
	var keys []policy.Key
	for key := range c.dirty {
		if len(keys) == mostSightings {
			break
		}
		keys = append(keys, key)
		delete(c.dirty, key)
	}
	// The progress is read before the sightings are: they have all that it says, or more.
	if u.More = len(c.dirty) > 0; !u.More {
		u.Progress, c.moved = c.roll.progress, false
	}
	c.roll.mu.Unlock()
	for _, key := range keys {
		u.Sightings = append(u.Sightings, c.roll.own.sight(key))
	}
	u.Now = time.Now()
	return u, true
}

// touch notes that there is something else to tell of a proxy.
func (r *roll) touch(key policy.Key) {
	if r.followers.Load() == 0 {
		return // and who follows from now on asks for all
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.cursors {
		c.dirty[key] = true
		c.signal()
	}
}

// progressed notes up to which version of the store all sessions were offered what follows.
func (r *roll) progressed(version uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if version == r.progress {
		return
	}
	r.progress = version
	for c := range r.cursors {
		c.moved = true
		c.signal()
	}
}

func (c *rollCursor) signal() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// unheard notes that there is a control plane which does not answer, since then or yet: nobody knows how its proxies are. What
// was known of them still holds as far as nothing depends on it.
func (r *roll) unheard(peer, address string, since time.Time) {
	r.mu.Lock()
	p := r.peers[peer]
	if p == nil {
		p = &peerRoll{seen: map[policy.Key]sighting{}}
		r.peers[peer] = p
	}
	p.address, p.progress, p.coming = address, 0, nil
	if p.unheard.IsZero() {
		p.unheard = since
	}
	r.tell()
}

// hear takes in what a control plane tells that was made known by unheard. Of another one nothing is believed.
func (r *roll) hear(peer string, u rollUpdate) {
	r.mu.Lock()
	p := r.peers[peer]
	if p == nil {
		r.mu.Unlock()
		return
	}
	ahead := time.Since(u.Now)
	if u.Full {
		p.coming = map[policy.Key]sighting{}
	}
	for _, s := range u.Sightings {
		s.shift(ahead)
		r.put(p, s)
	}
	if !u.More {
		p.complete(r.news)
		p.progress, p.unheard = u.Progress, time.Time{}
	}
	r.tell()
}

// tell has what was heard looked at. It gives the lock back.
func (r *roll) tell() {
	r.heard = true
	r.mu.Unlock()
	r.wake()
}

// put keeps a sighting. The caller holds the lock.
func (r *roll) put(p *peerRoll, s sighting) {
	key, to := s.key(), p.seen
	if p.coming != nil {
		to = p.coming
	} else {
		r.news[key] = true
	}
	if s.isForgotten() {
		delete(to, key)
	} else {
		to[key] = s
	}
}

// complete puts a full update in the place of what was known. The caller holds the lock.
func (p *peerRoll) complete(news map[policy.Key]bool) {
	if p.coming == nil {
		return
	}
	for _, all := range []map[policy.Key]sighting{p.seen, p.coming} {
		for key := range all {
			news[key] = true
		}
	}
	p.seen, p.coming = p.coming, nil
}

// lost notes that a control plane is no more. Its proxies are gone, and their Envoys go on with what they had.
func (r *roll) lost(peer string) {
	r.mu.Lock()
	p := r.peers[peer]
	if p == nil {
		r.mu.Unlock()
		return
	}
	delete(r.peers, peer)
	now := time.Now()
	for key, s := range p.seen {
		if s.Gone == nil {
			s.Gone, s.Uses.Since = &goneBy{At: now}, now
		}
		if last, ok := r.bygone[key]; !ok || s.newer(&last) {
			r.bygone[key] = s
		}
		r.news[key] = true
	}
	r.loss = true
	r.tell()
}
