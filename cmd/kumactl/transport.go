package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"koguma/mistake"
	"koguma/policy"
)

// transport sends requests to a control plane. Whoever answers under TLS is verified before anything is sent.
func (c *cli) transport(t target) (http.RoundTripper, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	base, err := parseAddress(t.URL)
	if err != nil {
		return nil, err
	}
	if t.SkipVerify {
		c.warn("it is not verified that %s is the control plane, because --skip-verify was given when it was added", base)
	}
	config, err := t.tlsConfig()
	if err != nil {
		return nil, err
	}
	if mode := othersRead(t.key()); mode != 0 {
		c.warn("others on this machine may read the key in %s by its mode %04o: chmod 600 %s", t.key(), mode, t.key())
	}
	if t.admin != nil {
		return withHeaders{t.Headers, &adminTransport{api: newTransport(nil), base: base, admin: newTransport(config)}}, nil
	}
	return withHeaders{t.Headers, newTransport(config)}, nil
}

// newTransport honours HTTPS_PROXY and its like, but not for this machine itself.
func newTransport(config *tls.Config) *http.Transport {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.TLSClientConfig = config
	return tr
}

// tlsConfig is how the server is verified: by the CAs that were given, else by the certificate that it had when it was added,
// else by the CAs of the system. Only then is the client certificate shown.
func (t *target) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: t.SkipVerify}
	certFile, keyFile, known := t.ClientCertFile, t.ClientKeyFile, ""
	if t.admin != nil {
		certFile, keyFile, known = t.admin.ClientCert, t.admin.ClientKey, t.admin.ServerFingerprint
	}
	switch {
	case t.CACertFile != "":
		text, err := readFile(t.CACertFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate in PEM", t.CACertFile)
		}
	case known != "":
		config.InsecureSkipVerify = true // VerifyConnection does it
		config.VerifyConnection = func(s tls.ConnectionState) error { return checkFingerprint(s.PeerCertificates[0], known) }
	}
	if certFile == "" {
		return config, nil
	}
	certPEM, err := readFile(certFile)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile(keyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("client certificate %s with key %s: %w", certFile, keyFile, err)
	}
	// Shown whatever CAs the server names, so that it can say what is wrong with it.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return config, nil
}

// fingerprint is the SHA-256 of a certificate, as kuma-cp logs it.
func fingerprint(c *x509.Certificate) string { return fmt.Sprintf("%x", sha256.Sum256(c.Raw)) }

// checkFingerprint reports that a server is another than the one that was added.
func checkFingerprint(c *x509.Certificate, want string) error {
	switch got := fingerprint(c); {
	case !strings.EqualFold(got, want):
		return fmt.Errorf("it shows another certificate (SHA-256 %s) than when it was added (%s), so nothing was sent: "+
			"if its certificate was replaced, add it again with 'kumactl config control-planes add --overwrite'", got, want)
	case time.Now().After(c.NotAfter):
		return fmt.Errorf("its certificate has expired at %s: replace it, and add it again with 'kumactl config control-planes add --overwrite'", c.NotAfter.Format(time.RFC3339))
	}
	return nil
}

// withHeaders adds headers to each request.
type withHeaders struct {
	headers []httpHeader
	next    http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (h withHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	if len(h.headers) > 0 {
		r = r.Clone(r.Context())
		for _, h := range h.headers {
			r.Header.Set(h.Key, h.Value)
		}
	}
	return h.next.RoundTrip(r)
}

// adminTransport sends what is meant for the API to the admin server, which has all of it, under TLS. Where that is, the
// API tells, to which nothing else is sent. Who tells us a lie there leads us to a server that we do not know.
type adminTransport struct {
	api   http.RoundTripper
	base  *url.URL
	admin http.RoundTripper

	mu     sync.Mutex
	server *url.URL // once it is known
}

// RoundTrip implements [http.RoundTripper].
func (a *adminTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	server, err := a.where(r.Context())
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = server.Scheme, server.Host, ""
	r.URL.Path = strings.TrimPrefix(r.URL.Path, strings.TrimSuffix(a.base.Path, "/"))
	res, err := a.admin.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("admin server at %s: %w", server, err)
	}
	return res, nil
}

// where asks the control plane for the address of its admin server.
func (a *adminTransport) where(ctx context.Context) (*url.URL, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil {
		return a.server, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(a.base.String(), "/")+"/catalog", nil)
	if err != nil {
		return nil, err
	}
	res, err := a.api.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, readProblem(res, text)
	}
	var catalog struct {
		APIs struct {
			Admin struct {
				PublicURL string `json:"publicUrl"`
			} `json:"admin"`
		} `json:"apis"`
	}
	if err := policy.DecodeOpen(text, &catalog); err != nil {
		return nil, fmt.Errorf("%s/catalog does not answer as a control plane does: %w", a.base, err)
	}
	address := catalog.APIs.Admin.PublicURL
	if address == "" {
		return nil, errors.New("it has no admin server for other machines: start it with KUMA_ADMIN_SERVER_PUBLIC_ENABLED=true, or leave out --admin-client-cert and --admin-client-key")
	}
	server, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	if server.Scheme != "https" {
		return nil, fmt.Errorf("it says that its admin server is at %s, where it could not be verified", server)
	}
	a.server = server
	return server, nil
}

// stranger is the fingerprint of the admin server's certificate, "" if a CA of the system vouches for it. Nothing is sent to it.
func (a *adminTransport) stranger(ctx context.Context) (string, error) {
	server, err := a.where(ctx)
	if err != nil {
		return "", err
	}
	errSeen := errors.New("seen")
	var chain []*x509.Certificate
	look := newTransport(&tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // it is looked at, and not talked to
		VerifyConnection: func(s tls.ConnectionState) error {
			chain = s.PeerCertificates
			return errSeen
		},
	})
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.String(), nil)
	if err != nil {
		return "", err
	}
	if _, err := look.RoundTrip(r); !errors.Is(err, errSeen) {
		return "", fmt.Errorf("admin server at %s: %w", server, err)
	}
	above := x509.NewCertPool()
	for _, c := range chain[1:] {
		above.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: server.Hostname(), Intermediates: above}); err == nil {
		return "", nil
	}
	return fingerprint(chain[0]), nil
}

// explainTLS says of an error of TLS what the user can do about it, nil if it is no such error.
func (t *target) explainTLS(err error) error {
	remote, isNet := errors.AsType[*net.OpError](err)
	refused := isNet && remote.Op == "remote error"
	// What the server said of a certificate is lost where it had closed the connection before it read our request.
	ended := t.certificate() != "" && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case unverified:
		return fmt.Errorf("it cannot be verified that %s is the control plane, so nothing was sent: %w\n"+
			"Add it with --ca-cert-file: the CA that made its certificate, or the certificate itself where it is self-signed", t.URL, err)
	case refused && t.certificate() == "":
		err = fmt.Errorf("the control plane at %s wants a client certificate: %w\nAdd it with --client-cert-file and --client-key-file", t.URL, err)
		return t.readOnly(err)
	case refused || ended:
		err = fmt.Errorf("the control plane at %s does not take the client certificate: %w\n"+
			"Put %s, without its key, into the folder of client certificates of the control plane", t.URL, err, t.certificate())
		copied := mistake.Command("scp", t.certificate()) + " HOST:FOLDER_OF_CLIENT_CERTIFICATES/"
		return mistake.New(mistake.ReadOnly, err, copied)
	}
	return nil
}
