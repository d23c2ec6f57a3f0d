package agent_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/certs"
	"koguma/mistake"
)

// refusalWith is how a control plane refuses a proxy, with a code.
func refusalWith(t *testing.T, domain, reason, message string, meta map[string]string) error {
	t.Helper()
	s, err := status.New(codes.Unauthenticated, message).WithDetails(&errdetails.ErrorInfo{Domain: domain, Reason: reason, Metadata: meta})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

// What a control plane says of a mistake is taken for what it is, if it is one of which it may speak; what is to be done
// comes from here.
func TestMistakeThatTheControlPlaneTells(t *testing.T) {
	t.Parallel()
	const fix = "make a new one with kumactl"
	at := func(ahead time.Duration) func() string {
		return func() string { return time.Now().Add(ahead).UTC().Format(time.RFC3339) }
	}
	for name, test := range map[string]struct {
		domain, reason string
		clock          func() string // of the control plane, when it refuses
		code           mistake.Code  // "" is none
		says, next     string
	}{
		"revoked":             {"koguma", "KG0106", at(0), mistake.TokenRevoked, "token refused: bad", "kumactl generate dataplane-token --mesh default --name web-1 --tag kuma.io/service=web "},
		"a clock that agrees": {"koguma", "KG0104", at(0), mistake.ClocksDiffer, "agrees with the one here, so the token was made by one that is ahead", "kumactl generate "},
		"a clock behind":      {"koguma", "KG0104", at(-time.Hour), mistake.ClocksDiffer, "the clock of the control plane is 1h0m", "date -u"},
		"a clock ahead":       {"koguma", "KG0103", at(2 * time.Hour), mistake.ClocksDiffer, "s ahead of the one here", "date -u"},
		"expired meanwhile":   {"koguma", "KG0103", at(0), mistake.TokenExpired, "token refused: bad", "kumactl generate "},
		"no time that is one": {"koguma", "KG0103", func() string { return "noon" }, mistake.TokenExpired, "bad", "kumactl generate "},
		"an unknown code":     {"koguma", "KG9999", at(0), "", "token refused: bad; " + fix, ""},
		"not its business":    {"koguma", "KG0402", at(0), "", "token refused: bad; " + fix, ""},
		"somebody else's":     {"example.com", "KG0106", at(0), "", "token refused: bad; " + fix, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cp := startCP(t)
			cp.read(func() {
				cp.refusal = refusalWith(t, test.domain, test.reason, "token refused: bad\x1b[31m; "+fix,
					map[string]string{mistake.MetaTime: test.clock(), mistake.MetaFix: fix})
			})
			err := start(t, config(t, cp)).wait()
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), " [31m", ""), test.says) || strings.Contains(err.Error(), "\x1b") {
				t.Fatalf("error %q, want one with %q", err, test.says)
			}
			m, ok := mistake.Of(err)
			if ok != (test.code != "") || ok && (m.Code != test.code || !strings.HasPrefix(m.Next()[0], test.next)) {
				t.Errorf("mistake %+v, want %s with %q", m, test.code, test.next)
			}
			if ok && strings.Contains(err.Error(), fix) {
				t.Errorf("it says twice what to do: %v", err)
			}
		})
	}
}

// Why there is no connection is told apart, although it comes from under gRPC.
func TestMistakeOnTheWay(t *testing.T) {
	t.Parallel()
	cp := startCP(t) // the token is one of its tokens
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	early, earlyCA := tlsServer(t, time.Now().Add(90*time.Minute), time.Now().Add(2*time.Hour), "h2")
	late, lateCA := tlsServer(t, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour), "h2")
	other, otherCA := tlsServer(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "http/1.1")
	web, webCA := tlsServer(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "h2", "http/1.1")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, test := range map[string]struct {
		address string
		ca      []byte
		code    mistake.Code
		says    string
		next    string
	}{
		"refused":           {"https://" + closed.Addr().String(), nil, mistake.ControlPlaneAway, "connection refused", "kuma-cp run"},
		"no TLS":            {strings.Replace(plain.URL, "http:", "https:", 1), nil, mistake.ControlPlaneNone, "tls: ", "kuma-dp run --cp-address https://127.0.0.1:5678"},
		"no API":            {plain.URL, nil, mistake.ControlPlaneNone, "404 Not Found", "kuma-dp run --cp-address https://127.0.0.1:"},
		"no gRPC":           {other, otherCA, mistake.ControlPlaneNone, "no application protocol", "kuma-dp run --cp-address https://127.0.0.1:5678"},
		"a page":            {web, webCA, mistake.ControlPlaneNone, "404", "kuma-dp run --cp-address https://127.0.0.1:5678"},
		"another pin":       {web, nil, mistake.ControlPlaneOther, "not the one the token was issued under", "kumactl config control-planes list"},
		"another CA":        {web, newCA(t, "other").CertPEM(), mistake.ControlPlaneUntrusted, "unknown authority", "kuma-dp run ...  # without --ca-cert-file"},
		"a clock behind":    {early, earlyCA, mistake.ClocksDiffer, "it begins in 1h", "date -u"},
		"a clock ahead":     {late, lateCA, mistake.ClocksDiffer, "it has ended 1h0m", "date -u"},
		"a name of nothing": {"https://kuma-cp.invalid:5678", nil, mistake.ControlPlaneAway, "kuma-cp.invalid", "getent hosts kuma-cp.invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, cp)
			cfg.CPAddresses, cfg.CACert, cfg.RetryMax = []string{test.address}, test.ca, time.Millisecond
			err := start(t, cfg).wait()
			m, ok := mistake.Of(err)
			if !ok || m.Code != test.code || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("mistake %+v of error %v, want %s with %q", m, err, test.code, test.says)
			}
			if got := m.Next()[0]; !strings.HasPrefix(got, test.next) {
				t.Errorf("next is %q, want %q", got, test.next)
			}
		})
	}
}

// tlsServer takes connections under TLS with a certificate for 127.0.0.1 of a CA that is returned, and has a page that is not
// found.
func tlsServer(t *testing.T, from, to time.Time, protocols ...string) (address string, caPEM []byte) {
	t.Helper()
	caKey, key := newKey(t), newKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "server CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: from.Add(-24 * time.Hour), NotAfter: to.Add(24 * time.Hour),
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: to, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leafDER}, PrivateKey: key}}, NextProtos: protocols}
	s.EnableHTTP2 = slices.Contains(protocols, "h2")
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}
