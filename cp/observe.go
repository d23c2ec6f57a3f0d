package cp

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/policy"
	"koguma/xds"
)

// maxReason is how much is kept of the words with which a proxy refuses something, in bytes.
const maxReason = 4 << 10

// Observe implements [xds.Session].
func (s *session) Observe(e xds.Event) {
	switch e.Kind {
	case xds.Subscribed:
		s.subscribed(e)
		return
	case xds.Reported:
		s.reported(e.Node)
		return
	}
	if e.Kind == xds.Nacked {
		e.Reason = strings.ToValidUTF8(e.Reason[:min(len(e.Reason), maxReason)], "")
		s.metrics.rejections.Inc()
		s.log.Warn("the proxy refused its configuration and keeps the last one",
			"proxy", s.key.Name, "mesh", s.key.Mesh, "type", e.Type, "reason", e.Reason)
	}
	if e.Kind == xds.Acked {
		switch e.Type {
		case xds.TypeSecret:
			s.took.secrets = e.Version
		case xds.TypeListener:
			s.took.listeners = e.Version
		}
		s.settle()
	}
	if e.Kind == xds.Acked {
		s.taken.acked(e.Type, e.Version)
	}
	if e.Type == xds.TypeListener && s.of != nil {
		switch {
		case e.Kind == xds.Sent && !s.of.MTLS:
			s.listens("")
		case e.Kind == xds.Acked && s.of.Mode != policy.ModePermissive:
			s.listens(s.of.Mode)
		}
	}
	s.present(e)
	s.metrics.deliveries.observe(e, &s.delivery)
	s.delivery.observe(e, s.use)
	if e.Type == xds.TypeSecret {
		s.reconciler.roll.touch(s.key)
		if e.Kind != xds.Sent {
			s.reconciler.rotations.look(s.key.Mesh)
		}
	}
	if e.Kind == xds.Acked && e.Type == xds.TypeCluster {
		s.dials(e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insight.observe(e)
}

// settle tells the reconciler, once, that the proxy has taken what its Dataplane asks of it: the listeners and, under mTLS,
// a certificate for each. Nobody is sent to it under a service before that.
func (s *session) settle() {
	d := s.made.dataplane
	if d == nil || d == s.settled || s.took.listeners != s.snapshot.Listeners.Version() {
		return
	}
	if s.made.auth != nil && (s.took.secrets != s.snapshot.Secrets.Version() || !s.ids.complete(s.wants)) {
		return
	}
	s.settled = d
	s.whole.Store(d.Version)
	s.reconciler.settled(s, d)
}

// subscribed takes in what the proxy asks for, and what it says of itself.
func (s *session) subscribed(e xds.Event) {
	if e.Node != nil {
		s.mu.Lock()
		s.insight.version(e.Node)
		s.mu.Unlock()
	}
	s.delivery.observe(e, s.use)
	if e.Type != xds.TypeSecret {
		return
	}
	s.ids.want(e.Names)
	s.mu.Lock()
	s.delivery.signing(s.making.auth, true) // until it has been seen to
	s.mu.Unlock()
	s.reconciler.roll.touch(s.key)
	if csr := metadata(e.Node, "dataplane.csr"); csr != "" {
		if err := s.ids.request(csr, metadataList(e.Node, "dataplane.svids")); err != nil {
			s.end(status.Error(codes.InvalidArgument, err.Error()))
		}
	}
}

// metadata is a string in the metadata of a node, "" if there is none.
func metadata(n *corev3.Node, key string) string {
	return n.GetMetadata().GetFields()[key].GetStringValue()
}

// metadataList is a list of strings in the metadata of a node.
func metadataList(n *corev3.Node, key string) []string {
	var list []string
	for _, v := range n.GetMetadata().GetFields()[key].GetListValue().GetValues() {
		list = append(list, v.GetStringValue())
	}
	return list
}
