package cp_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"koguma/certs"
	"koguma/cp/settings"
)

// tlsPair is a certificate and its key.
type tlsPair struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newPair is a certificate by this issuer, self-signed for nil: valid, and for what usage says.
func newPair(t *testing.T, by *tlsPair, name string, usage x509.ExtKeyUsage, change ...func(*x509.Certificate)) *tlsPair {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{usage}, BasicConstraintsValid: true,
	}
	for _, c := range change {
		c(template)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tlsPair{t, cert, key}
}

// newClientCA is a CA of clients.
func newClientCA(t *testing.T, name string, change ...func(*x509.Certificate)) *tlsPair {
	t.Helper()
	return newPair(t, nil, name, x509.ExtKeyUsageAny, append(change, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
	})...)
}

func expired(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }

func (p *tlsPair) certPEM() string { return string(certs.EncodeChain([]*x509.Certificate{p.cert})) }

func (p *tlsPair) keyPEM() string {
	p.t.Helper()
	text, err := certs.EncodeKey(p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// folder is files of a TLS server: cp.pem, cp.key, and the folder clients.
type folder struct {
	t    *testing.T
	path string
}

func newFolder(t *testing.T, server *tlsPair) folder {
	t.Helper()
	f := folder{t, t.TempDir()}
	if err := os.Mkdir(filepath.Join(f.path, "clients"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.write("cp.pem", server.certPEM())
	f.write("cp.key", server.keyPEM())
	return f
}

func (f folder) file(name string) string { return filepath.Join(f.path, name) }

// write replaces the file as a whole: what is half-written says so in the text.
func (f folder) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(f.file("new"), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.file("new"), f.file(name)); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) remove(name string) {
	f.t.Helper()
	if err := os.Remove(f.file(name)); err != nil {
		f.t.Fatal(err)
	}
}

// https is a configuration with the API under TLS, where this machine is like any other.
func (f folder) https(c *settings.Config) {
	h := &c.APIServer.HTTPS
	h.Enabled, h.Interface, h.Port = true, "127.0.0.1", 0
	h.TLSCertFile, h.TLSKeyFile = f.file("cp.pem"), f.file("cp.key")
	c.APIServer.Auth.ClientCertsDir, c.APIServer.Authn.LocalhostIsAdmin = f.file("clients"), false
}

// public is a configuration with the admin server for other machines.
func (f folder) public(c *settings.Config) {
	c.AdminServer.Public = settings.AdminPublicConfig{
		Enabled: true, Interface: "127.0.0.1", TLSCertFile: f.file("cp.pem"), TLSKeyFile: f.file("cp.key"), ClientCertsDir: f.file("clients"),
	}
}

// tlsClient trusts the server and shows the certificate of the client, if there is one, whatever the server asks for.
func tlsClient(t *testing.T, server, client *tlsPair, change ...func(*tls.Config)) *http.Client {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	config.RootCAs.AddCert(server.cert)
	if client != nil {
		shown := tls.Certificate{Certificate: [][]byte{client.cert.Raw}, PrivateKey: client.key}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }
	}
	for _, c := range change {
		c(config)
	}
	tr := &http.Transport{TLSClientConfig: config}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// askTLS is what comes of a request: its status, or 0 with the reason why there was no connection.
func askTLS(t *testing.T, client *http.Client, addr net.Addr, method, path, body string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+addr.String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil { // so that the connection stays open
		t.Error(err)
	}
	return res.StatusCode, ""
}
