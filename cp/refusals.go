package cp

import (
	"errors"
	"log/slog"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/token"
)

const (
	// refusalPause is how long no second line is written about the same peer.
	refusalPause = time.Second
	// maxRefusedPeers is how many peers are told apart. Those beyond share one line.
	maxRefusedPeers = 1024
	// maxNode is how much is written of what a proxy says that it is, in bytes.
	maxNode = 300
)

// refusals keeps account of the proxies that were refused: each is counted, and for each peer address there is at most
// one audit line a second, so that nobody can fill the log. It is safe for concurrent use.
type refusals struct {
	count *prometheus.CounterVec // by check
	log   *slog.Logger
	sampler
}

// sampler says which of many refusals have a line in the log. It is safe for concurrent use; the zero value is ready.
type sampler struct {
	mu    sync.Mutex
	peers map[string]*refusedPeer // by host; "" is all that are too many
}

// refusedPeer is what was written about one peer.
type refusedPeer struct {
	written time.Time
	since   int // refusals that no line was written for
}

func newRefusals(m *metrics, log *slog.Logger) *refusals {
	return &refusals{count: m.refusals, log: log}
}

// add takes one in: what was asked for, by whom, and who it said it was. A line tells the token and the key by their
// ids if the signature was good, and never more of a token than that.
func (r *refusals) add(verb, peer, node, check string, err error) {
	r.count.WithLabelValues(check).Inc()
	suppressed, ok := r.admit(peer, time.Now())
	if !ok {
		return
	}
	attrs := []any{"peer", peer, "verb", verb, "node", node[:min(len(node), maxNode)], "check", check}
	if t, ok := errors.AsType[*token.Refusal](err); ok && t.KeyID != "" {
		attrs = append(attrs, "jti", t.ID, "kid", t.KeyID)
	}
	if suppressed > 0 {
		attrs = append(attrs, "suppressed", suppressed)
	}
	r.log.Info("audit", append(attrs, "reason", message(err), "outcome", "refused")...)
}

// admit reports whether a line may be written about a peer, and how many were not since the last.
func (r *sampler) admit(peer string, now time.Time) (suppressed int, ok bool) {
	host, _, err := net.SplitHostPort(peer)
	if err != nil {
		host = peer
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.peers[host] == nil && len(r.peers) >= maxRefusedPeers {
		maps.DeleteFunc(r.peers, func(_ string, p *refusedPeer) bool { return now.Sub(p.written) >= refusalPause })
		if len(r.peers) >= maxRefusedPeers {
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
	if now.Sub(p.written) < refusalPause {
		p.since++
		return 0, false
	}
	suppressed, p.since, p.written = p.since, 0, now
	return suppressed, true
}

// message is an error without the words that gRPC puts before it.
func message(err error) string {
	if s, ok := status.FromError(err); ok {
		return s.Message()
	}
	return err.Error()
}

// refused is the status for a proxy whose token was refused, and the check that failed.
type refused struct {
	check  string
	status *status.Status
}

// Error implements error.
func (r *refused) Error() string { return r.status.Message() }

// GRPCStatus is what the proxy is told.
func (r *refused) GRPCStatus() *status.Status { return r.status }

// closing is why a session has ended, in the words of the metric.
func closing(left bool, cause error) string {
	if left {
		return "left"
	}
	if r, ok := errors.AsType[*refused](cause); ok {
		return r.check
	}
	switch status.Code(cause) {
	case codes.AlreadyExists:
		return "superseded"
	case codes.NotFound:
		return "dataplane-deleted"
	case codes.InvalidArgument:
		return "invalid"
	}
	return "broken"
}
