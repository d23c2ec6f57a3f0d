package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"koguma/certs"
	"koguma/doctor"
	"koguma/mistake"
	"koguma/policy"
	"koguma/token"
)

// checkPlanes looks at all control planes at once, and tells of them in the order in which they were given.
func (x *exam) checkPlanes(ctx context.Context) []doctor.Check {
	planes, err := newControlPlanes(x.Config)
	if err != nil {
		return []doctor.Check{doctor.Bad("control plane", "%v", err)}
	}
	slices.SortFunc(planes, func(a, b *controlPlane) int { return x.place(a) - x.place(b) })
	found := make([][]doctor.Check, len(planes))
	var all sync.WaitGroup
	for i, cp := range planes {
		all.Go(func() { found[i] = x.checkPlane(ctx, cp) })
	}
	all.Wait()
	return slices.Concat(found...)
}

// place is where a control plane stands in the list.
func (x *exam) place(cp *controlPlane) int {
	return slices.IndexFunc(x.CPAddresses, func(a string) bool { return strings.Contains(strings.ToLower(a), cp.address.Host) })
}

// checkPlane goes the way of an agent: to the DP server, under TLS, and in. The last is asked of POST /bootstrap, which judges
// the token and the Dataplane as a stream would be, and keeps nothing: a stream would take the place of one that is open.
func (x *exam) checkPlane(ctx context.Context, cp *controlPlane) []doctor.Check {
	name := "control plane " + cp.address.Host
	t, err := cp.trust(x.held.Claims.Pin)
	if err != nil {
		return []doctor.Check{doctor.Mistaken(name, mistake.ControlPlaneUntrusted, err)}
	}
	locating, cancel := context.WithTimeout(ctx, doctor.Patience)
	defer cancel()
	u, err := cp.locate(locating, t.anyHost)
	if err != nil {
		return []doctor.Check{x.notLocated(ctx, name, cp.address, err)}
	}
	raw, next, err := doctor.Dial(ctx, u.Host)
	if err != nil {
		return []doctor.Check{doctor.Mistaken(name, mistake.ControlPlaneAway, err, next)}
	}
	defer raw.Close()
	config := t.tls.Clone()
	config.NextProtos = []string{"http/1.1"}
	if config.ServerName == "" {
		config.ServerName = u.Hostname()
	}
	conn := tls.Client(raw, config)
	shaking, stop := context.WithTimeout(ctx, doctor.Patience)
	defer stop()
	if err := conn.HandshakeContext(shaking); err != nil {
		return []doctor.Check{x.notTrusted(ctx, name, u, err)}
	}
	checks := []doctor.Check{doctor.Certificate(name, conn.ConnectionState().PeerCertificates[0], x.knownBy(cp), x.now)}
	return append(checks, x.askIn(ctx, u, conn)...)
}

// knownBy is how a control plane is recognised.
func (x *exam) knownBy(cp *controlPlane) string {
	switch {
	case cp.roots != nil:
		return "known by the CA that was given"
	case x.held.Claims.Pin != "":
		return "known by the pin in the token"
	case cp.local != nil:
		if pem, err := cp.local(); err == nil && len(pem) > 0 {
			return "known by the CA that it has left on this machine"
		}
	}
	return "known by a CA of the system"
}

// notLocated is about an API that does not say where the DP server is.
func (x *exam) notLocated(ctx context.Context, name string, api *url.URL, err error) doctor.Check {
	address := net.JoinHostPort(api.Hostname(), api.Port())
	conn, next, away := doctor.Dial(ctx, address)
	if away != nil {
		return doctor.Mistaken(name, mistake.ControlPlaneAway, away, next)
	}
	conn.Close()
	if errors.Is(err, context.DeadlineExceeded) {
		return doctor.Mistaken(name, mistake.ControlPlaneNone, errors.New(mute))
	}
	if who := doctor.WhoIs(ctx, address); who != "" {
		err = fmt.Errorf("%w; what answers is %s", err, who)
	}
	return doctor.Mistaken(name, mistake.ControlPlaneNone, err)
}

// mute is what is said of who does not speak. It is not waited for a second time.
const mute = "somebody takes the connection, and says nothing"

// notTrusted is about a server that was not recognised, to which nothing was said.
func (x *exam) notTrusted(ctx context.Context, name string, u *url.URL, err error) doctor.Check {
	if errors.Is(err, context.DeadlineExceeded) {
		return doctor.Mistaken(name, mistake.ControlPlaneNone, errors.New(mute))
	}
	chain := doctor.Chain(ctx, u.Host)
	if len(chain) == 0 {
		if who := doctor.WhoIs(ctx, u.Host); who != "" {
			err = fmt.Errorf("what answers is %s", who)
		} else {
			err = fmt.Errorf("what answers does not speak TLS 1.3: %w", err)
		}
		return doctor.Mistaken(name, mistake.ControlPlaneNone, err, again(ctx, u))
	}
	seen := fmt.Sprintf("its certificate is for %s, issued by %s", doctor.Names(chain[0]), chain[0].Issuer)
	if _, ok := errors.AsType[*certs.OtherCA](err); ok {
		return doctor.Mistaken(name, mistake.ControlPlaneOther, fmt.Errorf("it does not have the CA that the token names: %s", seen),
			"give the address of the control plane that made the token, or make one with this one", x.source.Command())
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return doctor.Mistaken(name, mistake.ClocksDiffer, fmt.Errorf("its certificate is not valid now: %s", wrongTime(invalid.Cert, x.now)))
	}
	return doctor.Mistaken(name, mistake.ControlPlaneUntrusted, fmt.Errorf("%w; %s", err, seen))
}

// again is how to name the DP server: by the API, if that is what answers, which tells where the DP server is.
func again(ctx context.Context, u *url.URL) string {
	address := "https://" + net.JoinHostPort(u.Hostname(), "5678")
	if doctor.WhoIs(ctx, u.Host) == doctor.TheAPI {
		address = "http://" + u.Host
	}
	return mistake.Command("kuma-dp", "run", "--cp-address", address) + " ..."
}

// question is what POST /bootstrap takes.
type question struct {
	Mesh      string `json:"mesh"`
	Name      string `json:"name"`
	Token     string `json:"dataplaneToken,omitempty"`
	Dataplane string `json:"dataplaneResource,omitempty"`
	WorkDir   string `json:"workdir"`
}

// request asks whether the proxy would be let in, or for nothing but the time if there is nothing to ask with.
func (x *exam) request(ctx context.Context, u *url.URL) (*http.Request, error) {
	if x.blind != "" {
		return http.NewRequestWithContext(ctx, http.MethodGet, "https://"+u.Host+"/", nil)
	}
	q := question{Mesh: x.Mesh, Name: x.Name, Token: string(x.held.Raw), WorkDir: "/"}
	if x.Dataplane != nil {
		definition, err := policy.Encode(x.Dataplane)
		if err != nil {
			return nil, err
		}
		q.Dataplane = string(definition)
	}
	body, err := policy.Encode(q)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+u.Host+"/bootstrap", bytes.NewReader(body))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// askIn asks a control plane that was recognised whether it would let the proxy in, and what time it is.
func (x *exam) askIn(ctx context.Context, u *url.URL, conn net.Conn) []doctor.Check {
	name, clock := "admission at "+u.Host, "clock of "+u.Host
	ctx, cancel := context.WithTimeout(ctx, doctor.Patience)
	defer cancel()
	req, err := x.request(ctx, u)
	if err != nil {
		return []doctor.Check{doctor.Skip(name, "%v", err)}
	}
	there := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	answer, err := doctor.Ask(&http.Transport{DisableKeepAlives: true, DialTLSContext: there}, req)
	if err != nil {
		return []doctor.Check{doctor.Mistaken(name, mistake.ControlPlaneNone, fmt.Errorf("no answer as of a control plane: %w", err))}
	}
	said := doctor.Skip(name, "not asked: %s", x.blind)
	if x.blind == "" {
		said = x.judge(name, answer)
	}
	return []doctor.Check{said, doctor.Clock(clock, answer.Header, answer.Sent, answer.Received)}
}

// checkHeader has the check of the control plane that failed.
const checkHeader = "Koguma-Check"

// judge reads what a control plane said of the proxy.
func (x *exam) judge(name string, answer *doctor.Answer) doctor.Check {
	text := errors.New(strings.TrimSpace(string(answer.Text)))
	why := token.Reason(answer.Header.Get(checkHeader))
	switch code := why.Code(); {
	case answer.StatusCode == http.StatusOK && answer.Header.Get("Content-Type") == "text/x-yaml":
		return doctor.Good(name, "the control plane would let the proxy in")
	case code != "":
		return doctor.Mistaken(name, code, text, x.source.Commands()...)
	case answer.StatusCode == http.StatusNotFound && len(answer.Text) == 0:
		return doctor.Mistaken(name, mistake.DataplaneMissing, fmt.Errorf("there is no Dataplane %s in mesh %s", x.Name, x.Mesh))
	case answer.StatusCode == http.StatusUnprocessableEntity && x.held.Raw == "":
		return doctor.Mistaken(name, mistake.TokenMissing, errors.New("the control plane wants a token"), x.source.Commands()...)
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return doctor.Bad(name, "%v", text)
	case answer.StatusCode == http.StatusUnprocessableEntity:
		return doctor.Mistaken(name, mistake.DataplaneInvalid, text)
	case answer.StatusCode == http.StatusServiceUnavailable:
		return doctor.Bad(name, "the control plane cannot tell: %v", text).Fix("look at its log, and at /ready of its diagnostics")
	}
	return doctor.Mistaken(name, mistake.ControlPlaneNone, fmt.Errorf("no answer as of a control plane: %s", answer.Status))
}
