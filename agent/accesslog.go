package agent

import (
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	entriesv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"

	"koguma/xds"
)

// accessLog is where Envoy says what it has denied. Each of its workers has a stream for each service and kind of
// entries, from the first denial on. Envoy says nothing twice: what was on its way when one of the two ends is lost.
type accessLog struct {
	accesslogv3.UnimplementedAccessLogServiceServer
	mesh    string
	denials *denials
}

// StreamAccessLogs implements the service.
func (l accessLog) StreamAccessLogs(stream accesslogv3.AccessLogService_StreamAccessLogsServer) error {
	var service string
	for {
		m, err := stream.Recv()
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
			common := e.GetCommonProperties()
			l.denials.add(l.denied(service, common, common.GetConnectionTerminationDetails()))
		}
		for _, e := range m.GetHttpLogs().GetLogEntry() {
			l.denials.add(l.denied(service, e.GetCommonProperties(), e.GetResponse().GetResponseCodeDetails()))
		}
	}
}

// denied is what an entry says. details are those of the RBAC, which never had a say where the handshake failed.
func (l accessLog) denied(service string, e *entriesv3.AccessLogCommon, details string) denial {
	from, to := addressOf(e.GetDownstreamRemoteAddress()), addressOf(e.GetDownstreamLocalAddress())
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
	one.reason = notPermitted
	if rule, ok := strings.CutPrefix(details, "rbac_access_denied_matched_policy["); ok {
		if rule = strings.TrimSuffix(rule, "]"); rule != "none" {
			one.rule = clip(rule)
		}
	}
	return one
}

// reasonOf is the word for why a handshake failed, by the words that Envoy 1.40 has for it.
func (l accessLog) reasonOf(e *entriesv3.AccessLogCommon, peer string) string {
	inspector := e.GetMetadata().GetFilterMetadata()["envoy.filters.listener.tls_inspector"]
	if inspector.GetFields()["failure_reason"].GetStringValue() == "ClientHelloNotDetected" {
		return plaintext
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
