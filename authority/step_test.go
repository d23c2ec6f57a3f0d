package authority_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"koguma/authority"
	"koguma/certs"
)

// fakeCA is an HTTPS server that answers like a step-ca, or as a test wants it to.
type fakeCA struct {
	t      *testing.T
	root   *signer
	issuer *signer
	key    *ecdsa.PrivateKey // of the provisioner
	answer func(w http.ResponseWriter, r *http.Request, ca *fakeCA)
	server *httptest.Server
}

// quiet is a log that nobody reads: a test that refuses handshakes would fill it.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// stepBody is what is sent to a step-ca.
type stepBody struct {
	CSR                 string
	OTT                 string
	NotBefore, NotAfter time.Time
}

func newFakeCA(t *testing.T, answer func(http.ResponseWriter, *http.Request, *fakeCA)) *fakeCA {
	t.Helper()
	ca := &fakeCA{t: t, root: newSigner(t, "root", nil, newKey(t), nil), key: newKey(t), answer: answer}
	ca.issuer = newSigner(t, "issuer", ca.root, newKey(t), nil)
	own := newSigner(t, "server", ca.issuer, newKey(t), func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	})
	ca.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ca.answer(w, r, ca) }))
	ca.server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{own.cert.Raw, ca.issuer.cert.Raw}, PrivateKey: own.key}}}
	ca.server.Config.ErrorLog = quiet()
	ca.server.StartTLS()
	t.Cleanup(ca.server.Close)
	return ca
}

// conf is a backend's configuration for it, with changes in turn: what to replace, and by what.
func (ca *fakeCA) conf(changes ...string) string {
	conf := fmt.Sprintf(`{"url":%q,"provisioner":"mesh","caCert":{"inlineString":%q},"key":{"inlineString":%q}}`,
		ca.server.URL, ca.root.certPEM(), (&signer{key: ca.key}).keyPEM(ca.t))
	return strings.NewReplacer(changes...).Replace(conf)
}

func (ca *fakeCA) open() authority.Authority {
	ca.t.Helper()
	a, err := open(ca.t, "step", ca.conf(), noSecrets)
	if err != nil {
		ca.t.Fatal(err)
	}
	return a
}

// sign signs as was asked, with changes.
func sign(change func(*x509.Certificate)) func(http.ResponseWriter, *http.Request, *fakeCA) {
	return func(w http.ResponseWriter, r *http.Request, ca *fakeCA) {
		var body stepBody
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			ca.t.Error(err)
		}
		block, _ := pem.Decode([]byte(body.CSR))
		csr, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			ca.t.Error(err)
			return
		}
		id, _ := url.Parse("spiffe://default/web")
		c := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: body.NotBefore, NotAfter: body.NotAfter,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			URIs: []*url.URL{id}, DNSNames: []string{"web"}, PublicKey: csr.PublicKey,
		}
		change(c)
		der, err := x509.CreateCertificate(rand.Reader, c, ca.issuer.cert, c.PublicKey, ca.issuer.key)
		if err != nil {
			ca.t.Error(err)
			return
		}
		leaf := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]any{
			"crt": leaf, "certChain": []string{leaf, string(ca.issuer.certPEM()), string(ca.root.certPEM())}, "tlsOptions": nil,
		})
	}
}

func keep(*x509.Certificate) {}

// A step-ca is asked by a token that is good for this request alone, and the root does not go out with what it signs.
func TestStepIssues(t *testing.T) {
	t.Parallel()
	var body stepBody
	ca := newFakeCA(t, func(w http.ResponseWriter, r *http.Request, ca *fakeCA) {
		data, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(data, &body); err != nil || r.Method != "POST" || r.URL.Path != "/1.0/sign" {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		r.Body = io.NopCloser(strings.NewReader(string(data)))
		sign(keep)(w, r, ca)
	})
	a := ca.open()
	if len(a.Roots()) != 1 || !a.Roots()[0].Equal(ca.root.cert) || a.(authority.Remote).Remote() != "the step-ca at "+ca.server.URL {
		t.Errorf("roots %d, %s", len(a.Roots()), a.(authority.Remote).Remote())
	}
	if _, ok := a.(authority.Revoker); ok {
		t.Error("it says that it can sign revocation lists")
	}
	asked := request(t)
	chain, err := a.Issue(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	if len(chain) != 2 || !chain[1].Equal(ca.issuer.cert) {
		t.Errorf("%d certificates", len(chain))
	}
	if life := body.NotAfter.Sub(body.NotBefore); life != time.Hour+certs.Backdate {
		t.Errorf("asked for %v", life)
	}
	claims := jwt.MapClaims{}
	token, err := jwt.ParseWithClaims(body.OTT, claims, func(*jwt.Token) (any, error) { return &ca.key.PublicKey, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithAudience(ca.server.URL+"/1.0/sign"), jwt.WithIssuer("mesh"), jwt.WithExpirationRequired())
	if err != nil {
		t.Fatal(err)
	}
	if sans := fmt.Sprint(claims["sans"]); sans != "[spiffe://default/web web]" || claims["sub"] != "spiffe://default/web" || len(claims["jti"].(string)) < 16 {
		t.Errorf("claims %v", claims)
	}
	if kid := token.Header["kid"]; len(fmt.Sprint(kid)) != 43 {
		t.Errorf("kid %v", kid)
	}
}

// What a CA answers that was not asked for is used by nobody, and the reason says what it was.
func TestStepAnswers(t *testing.T) {
	t.Parallel()
	id := func(s string) *url.URL { u, _ := url.Parse(s); return u }
	say := func(status int, text string) func(http.ResponseWriter, *http.Request, *fakeCA) {
		return func(w http.ResponseWriter, _ *http.Request, _ *fakeCA) {
			w.Header().Set("Location", "https://example.com/")
			w.WriteHeader(status)
			io.WriteString(w, text)
		}
	}
	other := newKey(t)
	strange := newSigner(t, "strange", nil, newKey(t), nil)
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, *fakeCA)
		want   string
	}{
		"as asked":          {sign(keep), ""},
		"shorter life":      {sign(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Minute) }), ""},
		"longer life":       {sign(func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Second) }), "later than asked for"},
		"another key":       {sign(func(c *x509.Certificate) { c.PublicKey = &other.PublicKey }), "for another key than the one asked for"},
		"another identity":  {sign(func(c *x509.Certificate) { c.URIs = []*url.URL{id("spiffe://default/admin")} }), `that of "spiffe://default/admin"`},
		"another mesh":      {sign(func(c *x509.Certificate) { c.URIs = []*url.URL{id("spiffe://other/web")} }), `trust domain "other"`},
		"two identities":    {sign(func(c *x509.Certificate) { c.URIs = append(c.URIs, id("spiffe://default/admin")) }), "2 URI names"},
		"no identity":       {sign(func(c *x509.Certificate) { c.URIs = nil }), "no URI name"},
		"another DNS name":  {sign(func(c *x509.Certificate) { c.DNSNames = []string{"admin"} }), `the DNS names ["admin"]`},
		"one more DNS name": {sign(func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "admin") }), `["admin" "web"]`},
		"an address":        {sign(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }), "has 3 names"},
		"a CA":              {sign(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), "is a CA certificate"},
		"for servers only":  {sign(func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), "no clientAuth"},
		"expired":           {sign(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), "expired at"},
		"by another CA": {func(w http.ResponseWriter, r *http.Request, ca *fakeCA) {
			sign(keep)(w, r, &fakeCA{t: ca.t, root: ca.root, issuer: strange})
		}, "does not lead to a root"},
		"no chain":     {say(201, `{}`), "it is empty"},
		"a key":        {say(201, `{"certChain":["-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----"]}`), "not a certificate"},
		"junk":         {say(201, "<html>"), "its answer cannot be read"},
		"a list":       {say(201, `[]`), "its answer cannot be read"},
		"nothing":      {say(201, ""), "its answer cannot be read"},
		"200":          {say(200, `{"certChain":[]}`), "it answered 200; see its log"},
		"a redirect":   {say(302, ""), "it answered 302; give the URL where it is itself"},
		"unauthorized": {say(401, `{"status":401,"message":"no \u001b[31mway"}`), `it answered 401, "no \x1b[31mway"; see that its JWK provisioner "mesh" has this key (kid "`},
		"forbidden":    {say(403, `{"status":403,"message":"duration of 24h"}`), `it answered 403, "duration of 24h"; see its log; often dpCert.rotation.expiration`},
		"many words":   {say(500, `{"message":"`+strings.Repeat("x", 60<<10)+`"}`), strings.Repeat("x", 300) + `..."; see its log`},
		"more than a GiB": {func(w http.ResponseWriter, _ *http.Request, _ *fakeCA) {
			w.WriteHeader(201)
			io.CopyN(w, endless{}, 1<<30)
		}, "more than 65536 bytes"},
		"an endless header": {func(w http.ResponseWriter, _ *http.Request, _ *fakeCA) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		}, "it cannot be reached"},
		"a broken answer": {func(w http.ResponseWriter, _ *http.Request, _ *fakeCA) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(201)
			io.WriteString(w, "{")
		}, "its answer broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := newFakeCA(t, test.answer)
			chain, err := ca.open().Issue(t.Context(), request(t))
			switch {
			case test.want == "" && err == nil && len(chain) == 2:
			case test.want != "" && err != nil && strings.Contains(err.Error(), test.want) && strings.HasPrefix(err.Error(), "the step-ca at https://127.0.0.1:"):
				if len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\n\x1b") {
					t.Errorf("too many words, or not one line: %v", err)
				}
			default:
				t.Errorf("got %d certificates, %v; want %q", len(chain), err, test.want)
			}
		})
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// Nobody else is asked: not who has another certificate, or none.
func TestStepServer(t *testing.T) {
	t.Parallel()
	ca := newFakeCA(t, sign(keep))
	impostor := newFakeCA(t, func(http.ResponseWriter, *http.Request, *fakeCA) { t.Error("an impostor was asked") })
	plain := httptest.NewServer(impostor.server.Config.Handler)
	defer plain.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	old := httptest.NewUnstartedServer(impostor.server.Config.Handler)
	old.TLS = ca.server.TLS.Clone()
	old.TLS.MaxVersion = tls.VersionTLS11
	old.Config.ErrorLog = quiet()
	old.StartTLS()
	defer old.Close()
	port := func(address string) string { return address[strings.LastIndex(address, ":"):] }
	for _, test := range []struct{ url, want string }{
		{impostor.server.URL, "its own certificate is of none of the roots in conf.caCert"},
		{"https://localhost" + port(ca.server.URL), "its own certificate is not accepted: x509: certificate is"},
		{"https://127.0.0.1" + port(plain.URL), "it speaks plain HTTP"},
		{"https://" + closed.Addr().String(), "it cannot be reached: dial tcp"},
		{old.URL, "it cannot be reached: remote error: tls: protocol version"},
	} {
		a, err := open(t, "step", ca.conf(ca.server.URL, test.url), noSecrets)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Issue(t.Context(), request(t)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.url, err, test.want)
		}
	}
}

// A CA is asked sixteen things at once and no more, and whoever waits may give up.
func TestStepTurns(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	release := make(chan struct{})
	ca := newFakeCA(t, func(w http.ResponseWriter, r *http.Request, ca *fakeCA) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-release
		now.Add(-1)
		sign(keep)(w, r, ca)
	})
	a := ca.open()
	var all sync.WaitGroup
	for range 40 {
		r := request(t)
		all.Go(func() {
			if _, err := a.Issue(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
	for end := time.Now().Add(10 * time.Second); now.Load() < 16 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Issue(ctx, request(t)); err == nil {
		t.Error("who gives up gets one")
	}
	close(release)
	all.Wait()
	if n := most.Load(); n != 16 {
		t.Errorf("%d at once", n)
	}
}

func TestStepConf(t *testing.T) {
	t.Parallel()
	ca := newFakeCA(t, sign(keep))
	key := string((&signer{key: ca.key}).keyPEM(t))
	quoted := fmt.Sprintf("%q", key)
	b64 := base64.RawURLEncoding.EncodeToString
	point, err := ca.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d, err := ca.key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := newKey(t).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk := func(d []byte, more string) string {
		return fmt.Sprintf("%q", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q,"d":%q,"use":"sig"%s}`, b64(point[1:33]), b64(point[33:]), b64(d), more))
	}
	middle := newSigner(t, "m", ca.root, newKey(t), nil)
	roots := fmt.Sprintf("%q", ca.root.certPEM())
	for _, test := range []struct {
		changes []string
		want    string
	}{
		{nil, ""},
		{[]string{ca.server.URL, ca.server.URL + "/"}, ""},
		{[]string{quoted, jwk(d, "")}, ""},
		{[]string{quoted, jwk(d, `,"kid":"7"`)}, ""},
		{[]string{`"mesh"`, `"mesh","keyId":"8"`}, ""},
		{[]string{roots, fmt.Sprintf("%q", append(ca.root.certPEM(), newSigner(t, "2", nil, newKey(t), nil).certPEM()...))}, ""},
		{[]string{"https:", "http:"}, "conf.url: must be"},
		{[]string{"https://", "https://u:p@"}, "conf.url: must be"},
		{[]string{ca.server.URL, "https://"}, "conf.url: must be"},
		{[]string{ca.server.URL, ca.server.URL + "?a=b"}, "conf.url: must be"},
		{[]string{`"mesh"`, `""`}, "conf.provisioner: must be"},
		{[]string{roots, fmt.Sprintf("%q", middle.certPEM())}, "conf.caCert: inline: it is not a root"},
		{[]string{roots, quoted}, `conf.caCert: inline: PEM block 1 is a "PRIVATE KEY"`},
		{[]string{quoted, roots}, `it is a "CERTIFICATE", not a private key`},
		{[]string{quoted, `"x"`}, "conf.key: secret \"default.ca-provided-key-ca-1\": there is something that is not PEM"},
		{[]string{quoted, `"{}"`}, "it is no EC key on P-256"},
		{[]string{quoted, `"{"`}, "it is no JWK in JSON"},
		{[]string{quoted, fmt.Sprintf("%q", (&signer{key: p384}).keyPEM(t))}, "it is no EC key on P-256"},
		{[]string{quoted, jwk(nil, "")}, "it is a public key"},
		{[]string{quoted, jwk(wrong, "")}, "its d is not the key of its x and y"},
		{[]string{quoted, jwk(make([]byte, 32), "")}, "its d is no private key"},
		{[]string{quoted, `"{\"protected\":\"a\",\"ciphertext\":\"b\"}"`}, "it is encrypted; decrypt it first, with step"},
		{[]string{quoted, `"ey.a.b.c.d"`}, "it is encrypted; decrypt it first, with step"},
	} {
		a, err := open(t, "step", ca.conf(test.changes...), noSecrets)
		if test.want != "" {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q: got %v, want %q", test.changes, err, test.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", test.changes, err)
		} else if chain := issue(t, a); !slices.ContainsFunc(a.Roots(), ca.root.cert.Equal) || len(chain) != 2 {
			t.Errorf("%q: %d certificates", test.changes, len(chain))
		}
	}
}
