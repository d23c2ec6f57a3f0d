package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/certs"
	"koguma/mistake"
	"koguma/token"
)

// mistaken is why there is no stream to a control plane with a token, as the mistake behind it, if it is a known one: what
// the control plane said, or what kept us from it. What to do next is made from what is known here.
func (a *Agent) mistaken(cp *controlPlane, held token.Held, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if s, ok := status.FromError(err); ok {
		for _, d := range s.Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == mistake.Domain {
				return a.told(s, info, time.Now())
			}
		}
	}
	return a.met(cp, held, err, time.Now())
}

// told is what a control plane says, with a code that it gives. A code that is not known here has no effect.
func (a *Agent) told(s *status.Status, info *errdetails.ErrorInfo, now time.Time) error {
	entry, ok := mistake.Find(info.GetReason())
	if !ok {
		return s.Err()
	}
	code, next, message := entry.Code, a.token.source.Commands(), s.Message()
	if fix := info.GetMetadata()[mistake.MetaFix]; fix != "" && a.cfg.Dataplane != nil { // then we know better
		message = strings.TrimSuffix(message, "; "+fix)
	}
	switch code {
	case mistake.TokenMissing, mistake.TokenMalformed, mistake.TokenForeign, mistake.TokenRevoked,
		mistake.TokenMesh, mistake.TokenName, mistake.TokenTags:
	case mistake.TokenExpired, mistake.ClocksDiffer:
		if theirs, err := time.Parse(time.RFC3339, info.GetMetadata()[mistake.MetaTime]); err == nil {
			if words := apart(theirs.Sub(now)); words != "" {
				code, next = mistake.ClocksDiffer, nil
				message += "; the clock of the control plane is " + words + " the one here"
			} else if code == mistake.ClocksDiffer {
				message += "; the clock of the control plane agrees with the one here, so the token was made by one that is ahead"
			}
		}
	case mistake.DataplaneMissing:
		next = []string{mistake.Command("kumactl", "get", "dataplanes", "--mesh", a.cfg.Mesh),
			mistake.Command("kuma-dp", "run", "--dataplane-file", a.cfg.Name+".yaml") + " ..."}
	default:
		return s.Err() // it is not for the control plane to say
	}
	return mistake.New(code, &setback{status.New(s.Code(), message), nil}, next...)
}

// skew is how far two clocks may be apart, and the way of a message between them.
const skew = 30 * time.Second

// apart says how far a clock is ahead of ours, or behind; "" if it is neither.
func apart(ahead time.Duration) string {
	switch d := ahead.Round(time.Second); {
	case d > skew:
		return d.String() + " ahead of"
	case d < -skew:
		return (-d).String() + " behind"
	}
	return ""
}

// met is what kept a stream to a control plane from coming about.
func (a *Agent) met(cp *controlPlane, held token.Held, err error, now time.Time) error {
	var (
		otherCA  *certs.OtherCA
		invalid  x509.CertificateInvalidError
		unknown  x509.UnknownAuthorityError
		misnamed x509.HostnameError
		noTLS    tls.RecordHeaderError
		other    *notControlPlane
		network  net.Error
		op       *net.OpError
	)
	switch {
	case errors.As(err, &otherCA):
		here := "  # by the control plane at " + cp.address.Host
		return mistake.New(mistake.ControlPlaneOther, err, "kumactl config control-planes list", a.token.source.Command()+here)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return mistake.New(mistake.ClocksDiffer, fmt.Errorf("%w; %s", err, wrongTime(invalid.Cert, now)))
	case errors.As(err, &unknown), errors.As(err, &misnamed), errors.As(err, &invalid):
		if cp.roots != nil && held.Claims.Pin != "" {
			return mistake.New(mistake.ControlPlaneUntrusted, err, "kuma-dp run ...  # without --ca-cert-file: the token names the CA")
		}
		return mistake.New(mistake.ControlPlaneUntrusted, err, append(a.token.source.Commands(), "kuma-dp run --ca-cert-file kuma-cp-ca.crt ...")...)
	case errors.As(err, &noTLS), errors.As(err, &other), errors.As(err, &op) && op.Op == "remote error", foreign(err):
		return mistake.New(mistake.ControlPlaneNone, err,
			"kuma-dp run --cp-address "+mistake.Word(dpAddress(cp.address))+" ...", look(cp.address))
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded):
		return mistake.New(mistake.ControlPlaneAway, err, reach(cp.address, err)...)
	}
	return err
}

// notControlPlane is an answer that no control plane gives.
type notControlPlane struct{ error }

// foreign reports whether it was gRPC that found that it does not speak with a DP server.
func foreign(err error) bool {
	s, ok := status.FromError(err)
	if !ok {
		return false
	}
	switch s.Code() {
	case codes.Unimplemented:
		return true
	case codes.Unknown, codes.Internal, codes.Unavailable:
		for _, words := range []string{"unexpected HTTP status code", "missing selected ALPN property", "certificate required"} {
			if strings.Contains(s.Message(), words) {
				return true
			}
		}
	}
	return false
}

// reach are the commands that show why an address cannot be reached, or that mend it.
func reach(u *url.URL, err error) []string {
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		return []string{mistake.Command("getent", "hosts", unknown.Name)}
	}
	start := "kuma-cp run"
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && !ip.IsLoopback() {
		start += "  # on " + u.Hostname()
	}
	return []string{start, look(u)}
}

// look is the command that shows who answers at an address.
func look(u *url.URL) string { return mistake.Command("curl", "-kv", "--max-time", "5", u.String()) }

// dpAddress is where the DP server is to be looked for that is not at an address: mostly at its usual port. What does not answer as
// the API does may be the DP server.
func dpAddress(u *url.URL) string {
	if u.Scheme == "http" && u.Port() != "5681" {
		return "https://" + u.Host
	}
	return "https://" + net.JoinHostPort(u.Hostname(), "5678")
}

// wrongTime says by how much a certificate is out of its time.
func wrongTime(c *x509.Certificate, now time.Time) string {
	if now.Before(c.NotBefore) {
		return fmt.Sprintf("it begins in %v by the clock here, which is behind then", c.NotBefore.Sub(now).Round(time.Second))
	}
	return fmt.Sprintf("it has ended %v ago by the clock here, which is ahead unless nobody has renewed it", now.Sub(c.NotAfter).Round(time.Second))
}
