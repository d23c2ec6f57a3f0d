package api

import (
	"maps"
	"net"
	"sync"
	"time"
)

const (
	// RefusalPause is how long no second line is written about the same peer.
	RefusalPause = time.Second
	// MaxRefusedPeers is how many peers are told apart. Those beyond share one line.
	MaxRefusedPeers = 1024
)

// Sampler says which of many refusals have a line in the log. It is safe for concurrent use; the zero value is ready.
type Sampler struct {
	mu    sync.Mutex
	peers map[string]*refusedPeer // by host; "" is all that are too many
}

// refusedPeer is what was written about one peer.
type refusedPeer struct {
	written time.Time
	since   int // refusals that no line was written for
}

// Admit reports whether a line may be written about a peer, and how many were not since the last.
func (r *Sampler) Admit(peer string, now time.Time) (suppressed int, ok bool) {
	host, _, err := net.SplitHostPort(peer)
	if err != nil {
		host = peer
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.peers[host] == nil && len(r.peers) >= MaxRefusedPeers {
		maps.DeleteFunc(r.peers, func(_ string, p *refusedPeer) bool { return now.Sub(p.written) >= RefusalPause })
		if len(r.peers) >= MaxRefusedPeers {
			host = ""
		}
	}
	p := r.peers[host]
	if p == nil {
		if r.peers == nil {
			r.peers = map[string]*refusedPeer{}
		}
		p = &refusedPeer{}
		r.peers[host] = p
	}
	if now.Sub(p.written) < RefusalPause {
		p.since++
		return 0, false
	}
	suppressed, p.since, p.written = p.since, 0, now
	return suppressed, true
}

// Peers is how many peers are told apart.
func (r *Sampler) Peers() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.peers)
}
