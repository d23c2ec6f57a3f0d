package agent

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	entriesv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	"koguma/xds"
)

// accessLog is where Envoy says what it has denied. Each of its workers has a stream for each service, from the first
// denial on. Envoy says nothing twice: what was on its way when one of the two ends is lost.
type accessLog struct {
	accesslogv3.UnimplementedAccessLogServiceServer
	mesh    string
	denials *denials
}

// StreamAccessLogs implements the service.
func (l accessLog) StreamAccessLogs(stream accesslogv3.AccessLogService_StreamAccessLogsServer) error {
	var service string
	for {
		m, err := receiveLog(stream)
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&accesslogv3.StreamAccessLogsResponse{})
		}
		if err != nil {
			return err
		}
		if id := m.GetIdentifier(); id != nil { // in the first message
			service = id.GetLogName()
		}
		for _, e := range m.GetTcpLogs().GetLogEntry() {
			l.denials.add(l.denied(service, e.GetCommonProperties()))
		}
	}
}

// receiveLog is the next message. It is read in two steps, because Envoy hands on a request id as the peer has made it
// up, and for bytes in it that are no UTF-8 the library refuses the whole: whoever is denied could hide by that.
func receiveLog(stream grpc.ServerStream) (*accesslogv3.StreamAccessLogsMessage, error) {
	var raw emptypb.Empty // to which every field is unknown, and is kept
	if err := stream.RecvMsg(&raw); err != nil {
		return nil, err
	}
	m := new(accesslogv3.StreamAccessLogsMessage)
	body := raw.ProtoReflect().GetUnknown()
	if err := proto.Unmarshal(body, m); err == nil {
		return m, nil
	}
	if err := proto.Unmarshal(readable(body, m.ProtoReflect().Descriptor()), m); err != nil {
		return nil, status.Error(codes.InvalidArgument, "an access log that cannot be read")
	}
	return m, nil
}

// readable is a message with all its strings in UTF-8. What is no message is left to whoever reads it.
func readable(body []byte, of protoreflect.MessageDescriptor) []byte {
	var out []byte
	for len(body) > 0 {
		number, kind, size := protowire.ConsumeField(body)
		if size < 0 {
			return append(out, body...)
		}
		whole := body[:size]
		body = body[size:]
		field := of.Fields().ByNumber(number)
		if kind != protowire.BytesType || field == nil {
			out = append(out, whole...)
			continue
		}
		_, _, tag := protowire.ConsumeTag(whole)
		value, _ := protowire.ConsumeBytes(whole[tag:])
		switch field.Kind() {
		case protoreflect.MessageKind:
			value = readable(value, field.Message())
		case protoreflect.StringKind:
			value = bytes.ToValidUTF8(value, []byte("?"))
		}
		out = protowire.AppendBytes(protowire.AppendTag(out, number, kind), value)
	}
	return out
}

// denied is what an entry says.
func (l accessLog) denied(service string, e *entriesv3.AccessLogCommon) denial {
	// The remote address that is not direct is what the peer says in a header.
	from, to := addressOf(e.GetDownstreamDirectRemoteAddress()), addressOf(e.GetDownstreamLocalAddress())
	one := denial{
		service: service, listener: xds.InboundName(to), from: from.String(), to: to.String(),
		sni: clip(e.GetTlsProperties().GetTlsSniHostname()),
	}
	for _, name := range e.GetTlsProperties().GetPeerCertificateProperties().GetSubjectAltName() {
		if name.GetUri() != "" {
			one.peer = clip(name.GetUri())
			break
		}
	}
	if failure := e.GetDownstreamTransportFailureReason(); failure != "" {
		if _, says, ok := strings.Cut(failure, ":SSL routines:OPENSSL_internal:"); ok {
			failure = says // before that it says only that it was TLS that failed
		}
		one.detail = clip(strings.TrimSuffix(failure, ":TLS_error_end"))
		one.reason = l.reasonOf(e, one.peer)
		return one
	}
	one.reason, one.rule = notPermitted, clip(ruleOf(e))
	if rule := doubtOf(e); rule != "" {
		one.reason, one.rule = shadowDenied, clip(rule)
	}
	return one
}

// doubtOf is the policy by which an RBAC would have denied what it let in, "" if there is none. The RBACs of HTTP and of the
// network note it down alike.
func doubtOf(e *entriesv3.AccessLogCommon) string {
	for _, rbac := range [...]string{"envoy.filters.http.rbac", "envoy.filters.network.rbac"} {
		noted := e.GetMetadata().GetFilterMetadata()[rbac].GetFields()
		if noted["shadow_engine_result"].GetStringValue() == "denied" {
			return noted["shadow_effective_policy_id"].GetStringValue()
		}
	}
	return ""
}

// ruleOf is the policy of the RBAC that denied: that of HTTP notes it down, that of the network says why it closed the
// connection.
func ruleOf(e *entriesv3.AccessLogCommon) string {
	if noted := e.GetMetadata().GetFilterMetadata()["envoy.filters.http.rbac"]; noted != nil {
		return noted.GetFields()["enforced_effective_policy_id"].GetStringValue()
	}
	rule, _ := strings.CutPrefix(e.GetConnectionTerminationDetails(), "rbac_access_denied_matched_policy[")
	if rule = strings.TrimSuffix(rule, "]"); rule == "none" {
		return ""
	}
	return rule
}

// reasonOf is the word for why a handshake failed, by the words that Envoy 1.40 has for it.
func (l accessLog) reasonOf(e *entriesv3.AccessLogCommon, peer string) string {
	inspector := e.GetMetadata().GetFilterMetadata()["envoy.filters.listener.tls_inspector"]
	if inspector.GetFields()["failure_reason"].GetStringValue() == "ClientHelloNotDetected" {
		return inPlaintext
	}
	failure := e.GetDownstreamTransportFailureReason()
	for _, known := range [...]struct{ text, reason string }{
		{"verify cert failed: SAN matcher", wrongMesh}, // first: names that the peer chose follow
		{":PEER_DID_NOT_RETURN_A_CERTIFICATE:", noCertificate},
		{"certificate has expired", expiredLeaf},
		{"certificate is not yet valid", notYetValid},
		{"certificate revoked", revokedLeaf},
		{"unable to get local issuer certificate", unknownCA},
		{"unable to get issuer certificate", unknownCA},
		{"unable to verify the first certificate", unknownCA},
		{"self signed certificate", unknownCA},
		{"certificate signature failure", unknownCA},
	} {
		if !strings.Contains(failure, known.text) {
			continue
		}
		if known.reason == unknownCA && peer != "" && !strings.HasPrefix(peer, "spiffe://"+l.mesh+"/") {
			return wrongMesh // each mesh has a CA of its own
		}
		return known.reason
	}
	return handshake
}

// addressOf is the zero value for what is no IP address.
func addressOf(a *corev3.Address) netip.AddrPort {
	ip, err := netip.ParseAddr(a.GetSocketAddress().GetAddress())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip, uint16(a.GetSocketAddress().GetPortValue()))
}

// maxClip is how many bytes of a text there are at most in a line that a peer had a say in.
const maxClip = 300

// clip is a text as it may stand in a line of a log.
func clip(text string) string {
	cut := text
	if len(cut) > maxClip {
		cut = cut[:maxClip]
	}
	cut = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(cut, ""))
	if len(text) > maxClip {
		cut += "..."
	}
	return cut
}
