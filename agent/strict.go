package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	inspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"koguma/xds"
)

// strict judges what Envoy is to have in a mesh whose traffic is under mTLS. It knows what such a configuration is made of,
// and takes everything else for a hole: what it cannot judge is not strict.
type strict struct{ mesh string }

// listener says how a peer without an identity of the mesh, or without a permission, could get past a listener; nil if it
// cannot.
func (s strict) listener(l *listenerv3.Listener) error {
	err := knows(l, "name", "address", "traffic_direction", "metadata", "stat_prefix", "listener_filters", "filter_chains",
		"default_filter_chain", "listener_filters_timeout", "continue_on_listener_filters_timeout", "access_log",
		"per_connection_buffer_limit_bytes")
	if err != nil {
		return err
	}
	for _, f := range l.GetListenerFilters() {
		if !f.GetTypedConfig().MessageIs((*inspectorv3.TlsInspector)(nil)) {
			return fmt.Errorf("listener filter %q is none that this agent can judge", f.GetName())
		}
	}
	chains := slices.Clone(l.GetFilterChains())
	if d := l.GetDefaultFilterChain(); d != nil {
		chains = append(chains, d)
	}
	for _, c := range chains {
		if err := s.chain(c); err != nil {
			return fmt.Errorf("filter chain %q: %w", c.GetName(), err)
		}
	}
	return nil
}

func (s strict) chain(c *listenerv3.FilterChain) error {
	err := knows(c, "name", "filter_chain_match", "filters", "transport_socket", "transport_socket_connect_timeout", "metadata")
	if err != nil {
		return err
	}
	tls := new(tlsv3.DownstreamTlsContext)
	if err := open(c.GetTransportSocket().GetTypedConfig(), tls, "the transport socket"); err != nil {
		return err
	}
	err = knows(tls, "common_tls_context", "require_client_certificate", "disable_stateless_session_resumption",
		"disable_stateful_session_resumption")
	if err != nil {
		return err
	}
	if !tls.GetRequireClientCertificate().GetValue() {
		return errors.New("it asks for no client certificate")
	}
	if err := s.peers(tls.GetCommonTlsContext()); err != nil {
		return err
	}
	return guarded(c.GetFilters())
}

// cluster says how connections to a service could go to somebody without an identity of the mesh; nil if they cannot.
func (s strict) cluster(c *clusterv3.Cluster) error {
	switch {
	case len(c.GetTransportSocketMatches()) > 0 || c.GetTransportSocketMatcher() != nil:
		return errors.New("it chooses its transport socket by endpoint")
	case unknown(c.ProtoReflect()):
		return errUnknown
	}
	tls := new(tlsv3.UpstreamTlsContext)
	if err := open(c.GetTransportSocket().GetTypedConfig(), tls, "the transport socket"); err != nil {
		return err
	}
	if err := knows(tls, "common_tls_context", "sni", "max_session_keys"); err != nil {
		return err
	}
	return s.peers(tls.GetCommonTlsContext())
}

// peers says who else than proxies of the mesh is taken for a peer.
func (s strict) peers(c *tlsv3.CommonTlsContext) error {
	err := knows(c, "tls_params", "tls_certificate_sds_secret_configs", "combined_validation_context", "alpn_protocols")
	if err != nil {
		return err
	}
	both := c.GetCombinedValidationContext()
	if name := both.GetValidationContextSdsSecretConfig().GetName(); name != xds.CASecretName(s.mesh) {
		return fmt.Errorf("it verifies peers by %q instead of by the CA of the mesh", name)
	}
	own := both.GetDefaultValidationContext()
	if err := knows(own, "match_typed_subject_alt_names", "max_verify_depth"); err != nil {
		return err
	}
	names := own.GetMatchTypedSubjectAltNames()
	if len(names) == 0 {
		return errors.New("it takes every name in a certificate")
	}
	for _, n := range names {
		m := n.GetMatcher()
		if n.GetSanType() != tlsv3.SubjectAltNameMatcher_URI || !strings.HasPrefix(m.GetPrefix()+m.GetExact(), "spiffe://"+s.mesh+"/") {
			return errors.New("it takes names that are not of the mesh")
		}
	}
	return nil
}

// secret says how a secret could have peers taken for those of the mesh that are not.
func (s strict) secret(secret *tlsv3.Secret) error {
	if v := secret.GetValidationContext(); v != nil {
		if err := knows(v, "trusted_ca", "crl", "only_verify_leaf_cert_crl"); err != nil {
			return fmt.Errorf("secret %q: %w", secret.GetName(), err)
		}
	}
	return nil
}

// guarded says what comes before the permissions in a chain of filters.
func guarded(filters []*listenerv3.Filter) error {
	if len(filters) == 0 {
		return errors.New("it has no filters")
	}
	first := filters[0].GetTypedConfig()
	if first.MessageIs((*rbacv3.RBAC)(nil)) {
		r := new(rbacv3.RBAC)
		if err := open(first, r, "RBAC"); err != nil {
			return err
		}
		if err := knows(r, "rules", "shadow_rules", "stat_prefix", "shadow_rules_stat_prefix", "rules_stat_prefix"); err != nil {
			return err
		}
		return admits(r.GetRules())
	}
	m := new(hcmv3.HttpConnectionManager)
	if err := open(first, m, "the first filter, where RBAC should be,"); err != nil {
		return err
	}
	return guardedHTTP(m)
}

// guardedHTTP says how a request could get past the permissions.
func guardedHTTP(m *hcmv3.HttpConnectionManager) error {
	switch {
	case unknown(m.ProtoReflect()):
		return errUnknown
	case m.GetRouteConfig() == nil:
		return errors.New("its routes come from elsewhere")
	case sets(m.GetRouteConfig().ProtoReflect(), "typed_per_filter_config"):
		return errors.New("a route has filters of its own")
	case len(m.GetHttpFilters()) == 0:
		return errors.New("it has no RBAC")
	}
	for _, u := range m.GetUpgradeConfigs() {
		if len(u.GetFilters()) > 0 {
			return fmt.Errorf("an upgrade to %q goes past its filters", u.GetUpgradeType())
		}
	}
	f, r := m.GetHttpFilters()[0], new(httprbacv3.RBAC)
	if f.GetDisabled() {
		return fmt.Errorf("filter %q is switched off", f.GetName())
	}
	if err := open(f.GetTypedConfig(), r, "the first HTTP filter, where RBAC should be,"); err != nil {
		return err
	}
	if err := knows(r, "rules", "shadow_rules", "shadow_rules_stat_prefix", "rules_stat_prefix", "track_per_rule_stats"); err != nil {
		return err
	}
	return admits(r.GetRules())
}

// admits says why the rules do not deny whom they do not name.
func admits(rules *rbacconfigv3.RBAC) error {
	if rules == nil {
		return errors.New("its RBAC has no rules")
	}
	if rules.GetAction() != rbacconfigv3.RBAC_ALLOW {
		return fmt.Errorf("its RBAC does not deny whom it does not name (%s)", rules.GetAction())
	}
	return nil
}

var errUnknown = errors.New("it has a field that this agent does not know")

// open reads a message that has to be of one type.
func open(packed *anypb.Any, m proto.Message, what string) error {
	if packed == nil {
		return fmt.Errorf("%s is missing", what)
	}
	if !packed.MessageIs(m) {
		return fmt.Errorf("%s is of type %s", what, short(packed.GetTypeUrl()))
	}
	if packed.UnmarshalTo(m) != nil || unknown(m.ProtoReflect()) {
		return fmt.Errorf("%s cannot be read", what)
	}
	return nil
}

// knows refuses a message that has anything but these fields.
func knows(m proto.Message, fields ...protoreflect.Name) (err error) {
	if unknown(m.ProtoReflect()) {
		return errUnknown
	}
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if !slices.Contains(fields, f.Name()) {
			err = fmt.Errorf("it has %q, which this agent cannot judge", f.Name())
		}
		return err == nil
	})
	return err
}

// unknown reports whether there is a field, however deep, that our copy of Envoy's interface does not have.
func unknown(m protoreflect.Message) bool {
	return len(m.GetUnknown()) > 0 || within(m, func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		inner, ok := v.Interface().(protoreflect.Message)
		return ok && len(inner.GetUnknown()) > 0
	})
}

// sets reports whether a field of that name is set, however deep.
func sets(m protoreflect.Message, name protoreflect.Name) bool {
	return within(m, func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool { return f.Name() == name })
}

// leadsTo reports whether a listener may lead to one of these clusters.
func leadsTo(l *listenerv3.Listener, clusters map[string]bool) bool {
	for _, c := range append(slices.Clone(l.GetFilterChains()), l.GetDefaultFilterChain()) {
		for _, f := range c.GetFilters() {
			config, err := f.GetTypedConfig().UnmarshalNew()
			if err != nil || within(config.ProtoReflect(), func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
				name, ok := v.Interface().(string)
				return ok && clusters[name]
			}) {
				return true
			}
		}
	}
	return false
}

// within reports whether is says yes to what a field has, each if it has several, however deep. It does not look into
// messages that are packed.
func within(m protoreflect.Message, is func(protoreflect.FieldDescriptor, protoreflect.Value) bool) (found bool) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		look := func(v protoreflect.Value) {
			inner, ok := v.Interface().(protoreflect.Message)
			found = found || is(f, v) || ok && within(inner, is)
		}
		switch {
		case f.IsList():
			for i := range v.List().Len() {
				look(v.List().Get(i))
			}
		case f.IsMap():
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { look(v); return !found })
		default:
			look(v)
		}
		return !found
	})
	return found
}
