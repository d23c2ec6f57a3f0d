package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"koguma/policy"
)

// Patience is how long each step may take at an address: to find it by its name, to connect, to shake hands, to answer.
const Patience = 3 * time.Second

// Dial connects to host:port. What comes with an error says what to do about it.
func Dial(ctx context.Context, address string) (conn net.Conn, next string, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "write it as HOST:PORT", err
	}
	looking, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	found, err := net.DefaultResolver.LookupHost(looking, host)
	if err != nil {
		return nil, "check the name, or what /etc/resolv.conf and /etc/hosts say",
			fmt.Errorf("the name %s cannot be resolved: %w", host, plain(err))
	}
	dialing, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	conn, err = new(net.Dialer).DialContext(dialing, "tcp", address)
	switch {
	case err == nil:
		return conn, "", nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Sprintf("start what should listen at port %s, or give the address at which it does", port),
			fmt.Errorf("nobody listens at %s", where(found, port))
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return nil, "look for a firewall in between, or a wrong address", fmt.Errorf("no answer from %s", where(found, port))
	}
	return nil, "check the address, and the way there", plain(err)
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

func where(hosts []string, port string) string {
	for i := range hosts {
		hosts[i] = net.JoinHostPort(hosts[i], port)
	}
	return strings.Join(hosts, " or ")
}

// plain is an error of the network without what repeats the address.
func plain(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsTimeout {
			return errors.New("no name server answers")
		}
		return errors.New(e.Err)
	}
	return err
}

// TheAPI is what [WhoIs] says of that of a control plane.
const TheAPI = "the API of a control plane, HTTP"

// WhoIs says in a few words what listens at host:port. Nothing is sent to it but a greeting, and nothing that it says is
// believed. "" if it does not say.
func WhoIs(ctx context.Context, address string) string {
	if chain := Chain(ctx, address); len(chain) > 0 {
		return fmt.Sprintf("a TLS server whose certificate is for %s, issued by %s", Names(chain[0]), chain[0].Issuer)
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return ""
	}
	res, err := (&http.Transport{DisableKeepAlives: true, Proxy: nil}).RoundTrip(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	var index struct {
		Product string `json:"product"`
	}
	switch {
	case policy.DecodeOpen(text, &index) == nil && index.Product == "Koguma":
		return TheAPI
	case strings.EqualFold(res.Header.Get("Server"), "envoy"):
		return "an Envoy, HTTP"
	}
	return "an HTTP server without TLS"
}

// errSeen ends a handshake once the certificate was seen.
var errSeen = errors.New("seen")

// Chain is the certificates that the TLS server at host:port shows, whoever it is; nil if there is none. They are looked at,
// and not talked to.
func Chain(ctx context.Context, address string) []*x509.Certificate {
	conn, _, err := Dial(ctx, address)
	if err != nil {
		return nil
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	var chain []*x509.Certificate
	_ = tls.Client(conn, &tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			chain = s.PeerCertificates
			return errSeen
		},
	}).HandshakeContext(ctx)
	return chain
}

// Names are whom a certificate is for: the names in it, or else its subject.
func Names(c *x509.Certificate) string {
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return c.Subject.String()
	}
	const few = 6
	if len(names) > few {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
	}
	return strings.Join(names, ", ")
}

// soonEnds is when the end of a server's certificate is worth a word. Those of kuma-cp's own making are renewed long before.
const soonEnds = 7 * 24 * time.Hour

// Certificate tells of the certificate of a server that was recognised by known.
func Certificate(name string, c *x509.Certificate, known string, now time.Time) Check {
	seen := fmt.Sprintf("for %s, issued by %s, %s; ends %s", Names(c), c.Issuer, known, Until(c.NotAfter, now))
	if c.NotAfter.Sub(now) < soonEnds && c.NotAfter.Sub(c.NotBefore) > 2*soonEnds {
		return Doubt(name, "%s", seen).Fix("replace it; nobody connects any more once it has ended")
	}
	return Good(name, "%s", seen)
}
