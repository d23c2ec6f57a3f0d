package agent

import (
	"slices"
	"sync"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"koguma/policy"
	"koguma/xds"
)

// typeOrder is the order in which the control plane is asked: what is referred to comes before what refers to it.
var typeOrder = [...]string{xds.TypeSecret, xds.TypeCluster, xds.TypeListener, xds.TypeEndpoint}

// state is what the agent has for its Envoy, and what Envoy said to it. It is where both sides meet: the stream from the
// control plane writes resources and reads verdicts, the session of Envoy the other way round.
type state struct {
	mu       sync.Mutex
	kinds    map[string]*kind // by type URL
	snapshot *xds.Snapshot    // nil until there are clusters and listeners
	changed  chan struct{}    // closed when there is another snapshot
	session  *session         // the one that counts; nil while Envoy is away
	endpoint []string         // the names of the endpoints that the clusters need
	envoy    policy.SoftwareVersion

	// said has a value when the control plane may have to be told something.
	said chan struct{}
	// turned is closed when other secrets may be of use.
	turned chan struct{}
}

// kind is what there is of one type of resources.
type kind struct {
	newest  *xds.Set // what the control plane sent last
	offered *xds.Set // what Envoy is given: newest, or good for as long as a new session has not taken that
	good    *xds.Set // what Envoy took last
	refusal string   // why Envoy refused newest, in its own words; "" if it did not
	unfit   string   // why the agent itself did not take over the newest response; "" if it did
	names   []string // what Envoy asks for by name
	asked   bool     // the session has asked for this type
	took    string   // the version that the session has taken; "" if none yet
	open    *response
	last    response // of the stream
}

// response is a response of the control plane that has no answer yet. There is at most one of each type: a newer one
// makes the older pointless.
type response struct {
	version, nonce string
	refusal        string // why the agent itself refused it
	names          []string
}

// verdict is the answer to a response: taken, or refused with a reason.
type verdict struct {
	version, nonce, refusal string
}

func newState() *state {
	s := &state{kinds: map[string]*kind{}, changed: make(chan struct{}), said: make(chan struct{}, 1), turned: make(chan struct{})}
	for _, typ := range typeOrder {
		s.kinds[typ] = &kind{}
	}
	return s
}

// full reports whether responses of the type are complete: what they leave out is gone.
func full(typ string) bool { return typ == xds.TypeCluster || typ == xds.TypeListener }

// receive takes over the resources of a response. endpoints are the names that come with clusters.
func (s *state) receive(typ, version, nonce string, resources []*xds.Resource, endpoints []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds[typ]
	k.last, k.unfit = response{version: version, nonce: nonce}, ""
	k.open = &response{version: version, nonce: nonce}
	for _, r := range resources {
		k.open.names = append(k.open.names, r.Name)
	}
	if !full(typ) {
		resources = merge(k.newest, resources)
	}
	s.replace(k, xds.NewSet(resources...))
	if typ == xds.TypeCluster {
		s.endpoint = endpoints
	}
	eds := s.kinds[xds.TypeEndpoint]
	s.replace(eds, keep(eds.newest, s.endpoint))
	s.publish()
}

// refuse notes that the agent itself did not take a response over.
func (s *state) refuse(typ, version, nonce, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kinds[typ].open, s.kinds[typ].unfit = &response{version: version, nonce: nonce, refusal: reason}, reason
}

// replace makes set the newest of its kind, unless that is what it was.
func (s *state) replace(k *kind, set *xds.Set) {
	if k.newest != nil && k.newest.Version() == set.Version() {
		return
	}
	k.newest, k.offered, k.refusal = set, set, ""
	s.turn(k)
}

// merge are the resources of the set and the new ones, which win.
func merge(set *xds.Set, resources []*xds.Resource) []*xds.Resource {
	for _, old := range set.All() {
		if !slices.ContainsFunc(resources, func(r *xds.Resource) bool { return r.Name == old.Name }) {
			resources = append(resources, old)
		}
	}
	return resources
}

// keep is the set without those that have none of the names.
func keep(set *xds.Set, names []string) *xds.Set {
	var kept []*xds.Resource
	for _, r := range set.All() {
		if slices.Contains(names, r.Name) {
			kept = append(kept, r)
		}
	}
	return xds.NewSet(kept...)
}

// publish makes a snapshot of what is offered. There is none before clusters and listeners have come: an Envoy that is
// told that there are no listeners believes itself ready.
func (s *state) publish() {
	clusters, listeners := s.kinds[xds.TypeCluster].offered, s.kinds[xds.TypeListener].offered
	if clusters == nil || listeners == nil {
		return
	}
	s.snapshot = &xds.Snapshot{
		Secrets:   s.kinds[xds.TypeSecret].offered,
		Clusters:  clusters,
		Endpoints: s.kinds[xds.TypeEndpoint].offered,
		Listeners: listeners,
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// names are what to ask the control plane for; base is what is asked for in any case. Clusters and listeners are asked
// for without names.
func (s *state) names(typ string, base []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch typ {
	case xds.TypeEndpoint:
		return s.endpoint
	case xds.TypeSecret:
		names := slices.Concat(base, s.kinds[typ].names)
		slices.Sort(names)
		return slices.Compact(names)
	}
	return nil
}

// wanted are the secrets that Envoy asks for. They stay while it is away, because it will be back.
func (s *state) wanted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kinds[xds.TypeSecret].names
}

// answer is the answer to the open response of a type, once it is known; ok is false until then.
func (s *state) answer(typ string) (v verdict, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds[typ]
	if k.open == nil {
		return verdict{}, false
	}
	v = verdict{version: k.open.version, nonce: k.open.nonce, refusal: k.open.refusal}
	if v.refusal == "" {
		v.refusal = k.refusal
	}
	if v.refusal == "" && k.took != k.newest.Version() && !s.idle(k) {
		return verdict{}, false
	}
	k.open = nil
	return v, true
}

// idle reports whether Envoy, although it has all its clusters and listeners, asks for nothing of the open response: then
// nobody is there to judge it.
func (s *state) idle(k *kind) bool {
	for _, typ := range typeOrder {
		if whole := s.kinds[typ]; full(typ) && (whole == k || whole.took == "" || whole.took != whole.newest.Version()) {
			return false
		}
	}
	return !slices.ContainsFunc(k.open.names, func(name string) bool { return slices.Contains(k.names, name) })
}

// disconnected forgets the responses of a stream that has ended: nobody waits for their answers.
func (s *state) disconnected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kinds {
		k.open, k.last = nil, response{}
	}
}

// envoyVersion is that of the Envoy that connected last, empty until one did.
func (s *state) envoyVersion() policy.SoftwareVersion {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.envoy
}

// attach makes a new session the one that counts, and ends the one before it.
func (s *state) attach(n *session, node *corev3.Node) {
	s.mu.Lock()
	old := s.session
	s.session, s.envoy = n, versionOf(node)
	s.turn(s.kinds[xds.TypeSecret])
	for _, k := range s.kinds {
		k.took, k.asked = "", false
		// An Envoy that has just begun gets what the last one had before it is shown again what that one refused: so it
		// ends up with the same.
		if k.refusal != "" && k.good != nil {
			k.offered = k.good
		}
	}
	s.publish()
	s.mu.Unlock()
	if old != nil {
		old.end(errReplaced)
	}
}

func (s *state) detach(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == n {
		s.session = nil
		s.turn(s.kinds[xds.TypeSecret])
	}
}

// current is the newest snapshot, and a channel that is closed when there is another.
func (s *state) current() (*xds.Snapshot, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot, s.changed
}

// observe notes what Envoy did in a session. of is the set that it was last sent of the type.
func (s *state) observe(n *session, e xds.Event, of *xds.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds[e.Type]
	if k == nil || s.session != n {
		return
	}
	switch e.Kind {
	case xds.Subscribed:
		k.asked, k.names = true, e.Names
	case xds.Acked:
		s.acked(k, e.Version)
	case xds.Nacked:
		if of == k.newest {
			k.refusal = e.Reason
		}
	default:
		return
	}
	s.turn(k)
	select {
	case s.said <- struct{}{}:
	default:
	}
}

func (s *state) acked(k *kind, version string) {
	k.took = version
	if k.offered.Version() != version {
		return
	}
	k.good = k.offered
	switch {
	case k.offered != k.newest:
		k.offered = k.newest
		s.publish()
	case k.refusal != "": // which it did earlier, and what was in the way is gone
		k.refusal = ""
		if k.open == nil && k.last.nonce != "" {
			k.open = &response{version: k.last.version, nonce: k.last.nonce}
		}
	}
}

// listens reports whether Envoy has acknowledged the newest listeners.
func (s *state) listens() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds[xds.TypeListener]
	return k.newest != nil && k.took == k.newest.Version()
}
