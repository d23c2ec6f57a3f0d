package agent_test

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	entriesv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"

	"koguma/bootstrap"
	"koguma/certs"
	"koguma/policy"
	"koguma/xds"
)

// tlsError is how Envoy says that a handshake failed.
func tlsError(says string) string {
	return "TLS_error:|268435581:SSL routines:OPENSSL_internal:" + says + ":TLS_error_end"
}

// noted gives cp a proxy with one inbound, of the service web, whose permission has that name and version.
func noted(t *testing.T, cp *fakeCP, listen, permission string, version uint64) {
	t.Helper()
	snapshot, err := new(xds.Builder).Build(&xds.View{
		Mesh: "default", Service: "web", MTLS: true, Roots: string(cp.meshCA.CertPEM()), Notes: true,
		Inbounds: []xds.Inbound{{
			Listen: netip.MustParseAddrPort(listen), Workload: netip.MustParseAddrPort("127.0.0.1:8080"), Service: "web",
			Protocol: policy.ProtocolTCP,
			Note:     xds.Note{Mode: policy.ModeStrict, Permission: permission, PermissionVersion: version},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cp.set(func(s *xds.Snapshot) { *s = *snapshot })
}

// deny says, as an Envoy does, that a connection to the service web was denied.
func (c *envoyClient) deny(peer, sni, to, failure, rule string) {
	c.t.Helper()
	stream, err := accesslogv3.NewAccessLogServiceClient(c.conn).StreamAccessLogs(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	common := &entriesv3.AccessLogCommon{
		DownstreamRemoteAddress:          socketAddress("10.0.0.7:4711"),
		DownstreamDirectRemoteAddress:    socketAddress("10.0.0.8:4711"),
		DownstreamLocalAddress:           socketAddress(to),
		DownstreamTransportFailureReason: failure,
		TlsProperties: &entriesv3.TLSProperties{
			TlsSniHostname: sni,
			PeerCertificateProperties: &entriesv3.TLSProperties_CertificateProperties{
				SubjectAltName: []*entriesv3.TLSProperties_CertificateProperties_SubjectAltName{
					{San: &entriesv3.TLSProperties_CertificateProperties_SubjectAltName_Uri{Uri: peer}},
				},
			},
		},
	}
	if rule != "" {
		common.ConnectionTerminationDetails = "rbac_access_denied_matched_policy[" + rule + "]"
	}
	err = stream.Send(&accesslogv3.StreamAccessLogsMessage{
		Identifier: &accesslogv3.StreamAccessLogsMessage_Identifier{LogName: "web"},
		LogEntries: &accesslogv3.StreamAccessLogsMessage_TcpLogs{TcpLogs: &accesslogv3.StreamAccessLogsMessage_TCPAccessLogEntries{
			LogEntry: []*entriesv3.TCPAccessLogEntry{{CommonProperties: common}},
		}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		c.t.Fatal(err)
	}
}

func socketAddress(s string) *corev3.Address {
	a := netip.MustParseAddrPort(s)
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: a.Addr().String(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(a.Port())},
	}}}
}

// The access log goes to the cluster that the bootstrap has.
func TestAccessLogCluster(t *testing.T) {
	t.Parallel()
	if xds.AgentCluster != bootstrap.ADSCluster {
		t.Errorf("access logs go to %q, and the bootstrap has %q", xds.AgentCluster, bootstrap.ADSCluster)
	}
}

// mint is a certificate of a CA that the CA itself would not issue.
func mint(t *testing.T, ca *certs.CA, id string, from, to time.Time) *tls.Certificate {
	t.Helper()
	text, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	signer, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	name, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, URIs: []*url.URL{name}, NotBefore: from, NotAfter: to, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent := ca.Certificate()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// selfSigned is a certificate that vouches for itself.
func selfSigned(t *testing.T, id string) *tls.Certificate {
	t.Helper()
	name, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), URIs: []*url.URL{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// freeAddress is one that nobody listens at.
func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

// drainTime is that of the Envoy of a [house].
const drainTime = time.Second

// house is a real Envoy with an HTTP service and a TCP service, which let in the service "client". Behind both is a
// workload that answers 403 itself.
type house struct {
	*running
	http, tcp netip.AddrPort
	revoked   *tls.Certificate
}

func newHouse(t *testing.T, cp *fakeCP) house {
	t.Helper()
	workload := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }))
	t.Cleanup(workload.Close)
	behind := netip.MustParseAddrPort(workload.Listener.Addr().String())
	now := time.Now()
	h := house{revoked: mint(t, cp.meshCA, "spiffe://default/client", now.Add(-time.Minute), now.Add(time.Hour))}
	crl, err := cp.meshCA.RevocationList([]certs.Revoked{{Serial: h.revoked.Leaf.SerialNumber, At: now}}, 1, now)
	if err != nil {
		t.Fatal(err)
	}
	h.http, h.tcp = freeAddress(t), freeAddress(t)
	note := xds.Note{Mode: policy.ModeStrict, Permission: "p", PermissionVersion: 3}
	client, doubted := []policy.Source{{Service: "client"}, {Service: "doubted"}}, []policy.Source{{Service: "doubted"}}
	snapshot, err := new(xds.Builder).Build(&xds.View{
		Mesh: "default", Service: "web", MTLS: true, Roots: string(cp.meshCA.CertPEM()), Notes: true,
		Withdrawn: &xds.Withdrawn{CRL: string(crl)},
		Inbounds: []xds.Inbound{
			{Listen: h.http, Workload: behind, Service: "web", Protocol: policy.ProtocolHTTP, Sources: client, Doubted: doubted, Callers: []string{"client", "doubted"}, Note: note},
			{Listen: h.tcp, Workload: behind, Service: "web-tcp", Protocol: policy.ProtocolTCP, Sources: client, Doubted: doubted, Callers: []string{"client", "doubted"}, Note: note},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cp.services[xds.IdentitySecretName("default", "web-tcp", false)] = "web-tcp"
	cp.set(func(s *xds.Snapshot) { *s = *snapshot })
	cfg := config(t, cp)
	cfg.Dataplane = web("web", "web-tcp")
	cfg.EnvoyBinary, cfg.EnvoyLogLevel, cfg.Concurrency = realEnvoy(t), "warning", 1
	cfg.EnvoyDrainTime = drainTime
	h.running = start(t, cfg)
	h.awaitReady("200 READY")
	return h
}

// Each cause for which Envoy lets nobody in has its own word, within a moment of the refusal. Envoy's own words may
// change with its version: then this fails.
func TestCausesOfDenials(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	h := newHouse(t, cp)
	foreign := newCA(t, "default")
	now := time.Now()
	from, to := now.Add(-time.Minute), now.Add(time.Hour)
	const client, rule = "spiffe://default/client", `rule="no rule" permission=p version=3`
	for _, c := range []struct {
		name string
		cert *tls.Certificate
		talk func(net.Conn, *tls.Config) net.Conn // over TLS if nil
		want string                               // how the line goes on after the reason; "": there is none
	}{
		{name: "permitted", cert: mint(t, cp.meshCA, client, from, to)},
		{"not permitted", mint(t, cp.meshCA, "spiffe://default/intruder", from, to), nil, "not-permitted " + rule},
		{"let in with doubt", mint(t, cp.meshCA, "spiffe://default/doubted", from, to), func(c net.Conn, config *tls.Config) net.Conn {
			config.ServerName = "doubted.web.default"
			return tls.Client(c, config)
		}, `shadow-denied rule=doubted permission=p version=3`},
		{"no certificate", nil, nil, "no-certificate sni=client.web.default detail=\"PEER_DID_NOT"},
		{"a foreign CA", mint(t, foreign, client, from, to), nil, "unknown-ca claim=" + client},
		{"self-signed", selfSigned(t, client), nil, "unknown-ca claim=" + client},
		{"expired", mint(t, cp.meshCA, client, from, now.Add(-time.Second)), nil, "expired claim=" + client},
		{"not yet valid", mint(t, cp.meshCA, client, to.Add(-time.Minute), to), nil, "not-yet-valid claim=" + client},
		{"revoked", h.revoked, nil, "revoked claim=" + client},
		{"another mesh", mint(t, cp.meshCA, "spiffe://other/client", from, to), nil, "wrong-mesh claim=spiffe://other/client"},
		{"another mesh with its CA", mint(t, newCA(t, "other"), "spiffe://other/client", from, to), nil, "wrong-mesh claim=spiffe://other/client"},
		{"plaintext", nil, func(c net.Conn, _ *tls.Config) net.Conn { return c }, "plaintext detail=HTTP_REQUEST"},
		{"TLS 1.2", mint(t, cp.meshCA, client, from, to), func(c net.Conn, config *tls.Config) net.Conn {
			config.MaxVersion = tls.VersionTLS12
			return tls.Client(c, config)
		}, "handshake sni=client.web.default detail=UNSUPPORTED_PROTOCOL"},
		{"a client that refuses the server", mint(t, cp.meshCA, client, from, to), func(c net.Conn, config *tls.Config) net.Conn {
			config.InsecureSkipVerify = false
			return tls.Client(c, config)
		}, "handshake sni=client.web.default detail=SSLV3_ALERT_BAD_CERTIFICATE"},
		{name: "gone without a word", talk: func(c net.Conn, _ *tls.Config) net.Conn { c.Close(); return c }},
		{"reset when all was well", mint(t, cp.meshCA, client, from, to), func(c net.Conn, config *tls.Config) net.Conn {
			secure := tls.Client(c, config)
			_ = secure.Handshake()
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
			return c
		}, ""},
	} {
		for service, at := range map[string]netip.AddrPort{"web": h.http, "web-tcp": h.tcp} {
			time.Sleep(100 * time.Millisecond) // there are no more than ten lines a second
			before, began := len(h.log.String()), time.Now()
			visit(t, at, c.cert, c.talk)
			lines := func() []string { return denied.FindAllString(h.log.String()[before:], -1) }
			if c.want == "" {
				if time.Sleep(100 * time.Millisecond); len(lines()) > 0 {
					t.Errorf("%s, %s: denied\n%s", c.name, service, lines())
				}
				continue
			}
			want := regexp.MustCompile("peer=(spiffe://default/(intruder|doubted)|\"\") from=127.0.0.1:[0-9]+ service=" + service +
				" to=" + at.String() + " reason=" + regexp.QuoteMeta(c.want))
			eventually(t, func() error {
				if len(lines()) == 0 {
					return fmt.Errorf("%s, %s: no line", c.name, service)
				}
				return nil
			})
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s, %s: the line took %v", c.name, service, took)
			}
			if got := lines(); len(got) != 1 || !want.MatchString(got[0]) {
				t.Errorf("%s, %s: the line is\n%s\nand should match\n%s", c.name, service, strings.Join(got, "\n"), want)
			}
		}
	}
}

// Nothing that a peer sends keeps its denial out of the log, or names another as the peer.
func TestNobodyHides(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	h := newHouse(t, cp)
	intruder := mint(t, cp.meshCA, "spiffe://default/intruder", time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
	for i, c := range []struct{ name, sni, header, want string }{
		{"an ordinary request", "a.b", "", "sni=a.b"},
		{"an SNI that is no text", "a\xff\xfe.b", "", "sni=a"},
		{"a request id that is no text", "a.b", "X-Request-Id: \xff\xfe\r\n", "sni=a.b"},
		{"another's address", "a.b", "X-Forwarded-For: 10.0.0.1\r\nX-Request-Id: \xff\r\n", "from=127.0.0.1:"},
		{"other headers that are no text", "a.b", "User-Agent: \xff\r\nReferer: \xff\r\n", "sni=a.b"},
	} {
		conn, err := tls.Dial("tcp", h.http.String(), &tls.Config{
			ServerName: c.sni, InsecureSkipVerify: true, Certificates: []tls.Certificate{*intruder},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: web\r\n"+c.header+"\r\n")
		_, _ = io.ReadAll(conn)
		conn.Close()
		eventually(t, func() error {
			lines := denied.FindAllString(h.log.String(), -1)
			if len(lines) != i+1 || !strings.Contains(lines[i], c.want) || !strings.Contains(lines[i], "peer=spiffe://default/intruder") {
				return fmt.Errorf("%s: want %q in the last of %d lines\n%s", c.name, c.want, i+1, strings.Join(lines, "\n"))
			}
			return nil
		})
	}
}

var denied = regexp.MustCompile(`(?m)^.*msg=("would be )?denied.*$`)

// visit sends a request to an inbound, and waits until the connection has ended or there is an answer.
func visit(t *testing.T, at netip.AddrPort, cert *tls.Certificate, talk func(net.Conn, *tls.Config) net.Conn) {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	config := &tls.Config{ServerName: "client.web.default", InsecureSkipVerify: true}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	if talk == nil {
		talk = func(c net.Conn, config *tls.Config) net.Conn { return tls.Client(c, config) }
	}
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	peer := talk(c, config)
	_, _ = io.WriteString(peer, "GET / HTTP/1.1\r\nHost: web\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(peer), nil); err == nil {
		resp.Body.Close()
	}
}
