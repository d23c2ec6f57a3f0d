package cp

import (
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/cp/api"
	"koguma/gui"
	"koguma/token"
)

const (
	// maxNode is how much is written of what a proxy says that it is, in bytes.
	maxNode = 300
)

// refusals keeps account of the proxies that were refused: each is counted, and for each peer address there is at most
// one audit line a second, so that nobody can fill the log. It is safe for concurrent use.
type refusals struct {
	count *prometheus.CounterVec // by check
	log   *slog.Logger
	// recent are those that there was a line for.
	recent recentRefusals
	api.Sampler
}

func newRefusals(m *metrics, log *slog.Logger) *refusals {
	return &refusals{count: m.refusals, log: log}
}

// add takes one in: what was asked for, by whom, and who it said it was. A line tells the token and the key by their
// ids if the signature was good, and never more of a token than that.
func (r *refusals) add(verb, peer, node, check string, err error) {
	r.count.WithLabelValues(check).Inc()
	suppressed, ok := r.Admit(peer, time.Now())
	if !ok {
		return
	}
	attrs := []any{"peer", peer, "verb", verb, "node", node[:min(len(node), maxNode)], "check", check}
	t, ok := errors.AsType[*token.Refusal](err)
	kept := gui.Refusal{Time: time.Now().UTC(), Verb: verb, Peer: peer, Node: node[:min(len(node), maxNode)], Check: check, Reason: message(err), More: suppressed}
	if ok {
		kept.Reason = withoutID(kept.Reason, t.ID)
	}
	r.recent.add(kept)
	if ok && t.KeyID != "" {
		attrs = append(attrs, "jti", t.ID, "kid", t.KeyID)
	}
	if ok && t.Reason.Code() != "" {
		attrs = append(attrs, "code", string(t.Reason.Code()))
	}
	if suppressed > 0 {
		attrs = append(attrs, "suppressed", suppressed)
	}
	r.log.Info("audit", append(attrs, "reason", message(err), "outcome", "refused")...)
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
