package authority

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"koguma/certs"
	"koguma/policy"
)

// Bounds of what is asked of a step-ca, and of its answers.
const (
	maxTurns    = 16       // requests at once
	maxAnswer   = 64 << 10 // bytes
	maxMessage  = 300      // bytes of its words that are shown
	ottLife     = 5 * time.Minute
	connectTime = 5 * time.Second
	maxSubject  = 64 // bytes of a common name
)

// stepCA is a step-ca that is asked with a token of one of its provisioners.
type stepCA struct {
	files
	url, signURL string
	provisioner  string
	key          provisionerKey
	roots        []*x509.Certificate
	client       *http.Client
	turns        chan struct{} // full while as many requests are out as there may be
}

// newStepClient trusts these roots and nobody else, and follows nobody anywhere. Each request has a connection of its own:
// then there is nothing to close in the end, and none is lost on a connection that a CA has given up.
func newStepClient(roots []*x509.Certificate) *http.Client {
	pool := x509.NewCertPool()
	for _, c := range roots {
		pool.AddCert(c)
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: connectTime}).DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    connectTime,
			MaxResponseHeaderBytes: maxAnswer,
			DisableKeepAlives:      true,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Roots implements [Authority].
func (a *stepCA) Roots() []*x509.Certificate { return a.roots }

// Remote implements [Remote].
func (a *stepCA) Remote() string { return "the step-ca at " + a.url }

// signRequest is what the step-ca is sent.
type signRequest struct {
	CSR       string    `json:"csr"`
	OTT       string    `json:"ott"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
}

// signResponse is what it answers, and message what is wrong where it does not sign.
type signResponse struct {
	CertChain []string `json:"certChain"`
	Message   string   `json:"message"`
}

// Issue implements [certs.Issuer]. It believes nothing of the answer that was not asked for.
func (a *stepCA) Issue(ctx context.Context, r certs.Request) ([]*x509.Certificate, error) {
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	now := time.Now()
	ott, err := a.token(r, now)
	if err != nil {
		return nil, err
	}
	body, err := policy.Encode(signRequest{
		CSR:       string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: r.CSR})),
		OTT:       ott,
		NotBefore: now.Add(-certs.Backdate).UTC().Truncate(time.Second),
		NotAfter:  r.End(now).UTC().Truncate(time.Second),
	})
	if err != nil {
		return nil, err
	}
	answer, err := a.post(ctx, body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Remote(), err)
	}
	chain, err := a.parse(answer.CertChain)
	if err == nil {
		err = certs.CheckAnswer(chain, a.roots, r, now, time.Now())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: what it signed for %s is not used: %w", a.Remote(), r.ID, err)
	}
	return chain, nil
}

// post sends a request for a certificate, and reads the answer.
func (a *stepCA) post(ctx context.Context, body []byte) (signResponse, error) {
	var answer signResponse
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.signURL, bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		return answer, unreached(ctx, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer, fmt.Errorf("its answer broke off: %w", err)
	case len(data) > maxAnswer:
		return answer, fmt.Errorf("its answer (%s) has more than %d bytes; is this URL that of a step-ca?", resp.Status, maxAnswer)
	}
	err = policy.DecodeOpen(data, &answer)
	switch {
	case resp.StatusCode != http.StatusCreated:
		return answer, refused(resp, answer.Message, a.provisioner, a.key.id)
	case err != nil:
		return answer, fmt.Errorf("its answer cannot be read: %w", err)
	}
	return answer, nil
}

// unreached is why there is no answer at all.
func unreached(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	verification, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return errors.New("its own certificate is of none of the roots in conf.caCert")
	case unverified:
		return fmt.Errorf("its own certificate is not accepted: %w", verification.Err)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return errors.New("it speaks plain HTTP; nothing is asked without TLS")
	}
	return fmt.Errorf("it cannot be reached: %w", errors.Unwrap(err))
}

// refused is why the step-ca did not sign, in its words, and what to do.
func refused(resp *http.Response, message, provisioner, keyID string) error {
	hint := "see its log"
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		hint = "give the URL where it is itself"
	case code == http.StatusUnauthorized:
		hint = fmt.Sprintf("see that its JWK provisioner %q has this key (kid %q), that the URL is one of its dnsNames, and that the clocks agree", provisioner, keyID)
	case code == http.StatusForbidden:
		hint = "see its log; often dpCert.rotation.expiration is more than its maxTLSCertDuration"
	}
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "..."
	}
	if message == "" {
		return fmt.Errorf("it answered %d; %s", resp.StatusCode, hint)
	}
	return fmt.Errorf("it answered %d, %q; %s", resp.StatusCode, message, hint)
}

// parse reads the chain in an answer, without the root that may be at its end.
func (a *stepCA) parse(answer []string) ([]*x509.Certificate, error) {
	chain, err := certs.ParseChain([]byte(strings.Join(answer, "\n")))
	if err != nil {
		return nil, err
	}
	isRoot := func(c *x509.Certificate) bool { return slices.ContainsFunc(a.roots, c.Equal) }
	if last := len(chain) - 1; last > 0 && isRoot(chain[last]) {
		chain = chain[:last]
	}
	return chain, nil
}

// token is a token that is good once, for this request.
func (a *stepCA) token(r certs.Request, now time.Time) (string, error) {
	if len(r.CSR) == 0 {
		return "", errors.New("a step-ca needs a signing request, and there is none")
	}
	subject := r.ID.String()
	if len(subject) > maxSubject { // it becomes the common name, which is for the CA's log and nobody else
		subject = r.ID.TrustDomain().Name()
	}
	fingerprint := sha256.Sum256(r.CSR)
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": a.provisioner, "aud": a.signURL, "sub": subject, "sans": append([]string{r.ID.String()}, r.DNS...),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(ottLife).Unix(), "jti": rand.Text(),
		// Whoever gets hold of the token can have no other key signed with it.
		"cnf": map[string]string{"x5rt#S256": base64.RawURLEncoding.EncodeToString(fingerprint[:])},
	})
	t.Header["kid"] = a.key.id
	return t.SignedString(a.key.key)
}
