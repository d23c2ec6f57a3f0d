package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"koguma/certs"
	"koguma/policy"
)

// controlPlane is where a DP server is, and what is known of it beside what a token says.
type controlPlane struct {
	address *url.URL
	roots   *x509.CertPool         // that an operator gave; nil if none
	local   func() ([]byte, error) // finds the CA of a control plane on this host; nil if ours is on another
}

// newControlPlanes are those of the configuration, each once. Their order is this agent's own: so those with one list spread
// over it, and when one of the list is gone, its agents over the others.
func newControlPlanes(cfg Config) ([]*controlPlane, error) {
	var roots *x509.CertPool
	if len(cfg.CACert) > 0 {
		var err error
		if roots, err = parseCA(cfg.CACert, time.Now()); err != nil && cfg.CACertFile != "" {
			err = fmt.Errorf("%s: %w", cfg.CACertFile, err)
		}
		if err != nil {
			return nil, err
		}
	}
	var all []*controlPlane
	for i, address := range cfg.CPAddresses {
		u, err := parseAddress(address)
		if err == nil && u.Scheme != "https" && len(cfg.CPAddresses) > 1 {
			err = errors.New("an API (http) among several; give https://HOST:PORT of each DP server (port 5678)")
		}
		if err != nil {
			if len(cfg.CPAddresses) > 1 {
				err = fmt.Errorf("number %d of %d: %w", i+1, len(cfg.CPAddresses), err)
			}
			return nil, fmt.Errorf("--cp-address: %w", err)
		}
		if slices.ContainsFunc(all, func(cp *controlPlane) bool { return cp.address.Host == u.Host }) {
			continue
		}
		cp := &controlPlane{address: u, roots: roots}
		if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip.IsLoopback() {
			cp.local = cfg.LocalCA
		}
		all = append(all, cp)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all, nil
}

// trust is how the control plane shows to the holder of a token that it is the one.
type trust struct {
	tls *tls.Config // without a ServerName if that is the host of the DP server
	// anyHost: whoever passes the check of tls is our control plane, wherever it is. Not so for the authorities of the
	// system, who sign for everybody.
	anyHost bool
}

// trust is that for a token with this pin, "" if it has none.
func (cp *controlPlane) trust(pin string) (trust, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if cp.roots != nil {
		config.RootCAs = cp.roots
		return trust{config, true}, nil
	}
	if pin != "" {
		// The chain and the name are checked by VerifyPinned, which also knows the root that is in no pool.
		config.InsecureSkipVerify = true
		config.VerifyConnection = certs.VerifyPinned(pin)
		config.ServerName = certs.ServerName
		return trust{config, true}, nil
	}
	if cp.local != nil {
		pem, err := cp.local()
		if err != nil {
			return trust{}, err
		}
		if len(pem) > 0 {
			config.RootCAs, err = parseCA(pem, time.Now())
			config.ServerName = certs.ServerName // what is signed by this CA is the control plane
			return trust{config, true}, err
		}
	}
	return trust{config, false}, nil
}

// parseAddress takes a scheme, a host and a port, and nothing else. The error does not repeat the address, which may
// have a password in it.
func parseAddress(s string) (*url.URL, error) {
	const form = "it has the form https://HOST:PORT for the DP server (port 5678), or http://HOST:PORT for the API (port 5681)"
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("not a URL; " + form)
	case u.User != nil:
		return nil, errors.New("it has credentials in it; " + form)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("no scheme that is known; " + form)
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return nil, errors.New("it has more than a host and a port; " + form)
	case u.Hostname() == "" || u.Port() == "":
		return nil, errors.New("the host or the port is missing; " + form)
	}
	u.Host = strings.ToLower(u.Host)
	return u, nil
}

// catalog is the answer of the API to the question where the other servers are.
type catalog struct {
	APIs struct {
		Bootstrap struct {
			URL string `json:"url"`
		} `json:"bootstrap"`
	} `json:"apis"`
}

// locate is the address of the DP server, which may be on another host than the API only if anyHost says so.
func (cp *controlPlane) locate(ctx context.Context, anyHost bool) (*url.URL, error) {
	if cp.address.Scheme == "https" {
		return cp.address, nil
	}
	data, err := cp.getCatalog(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask %s where the DP server is: %w", cp.address, err)
	}
	var c catalog
	if err := policy.DecodeOpen(data, &c); err != nil {
		return nil, &notControlPlane{fmt.Errorf("catalog of %s: %w", cp.address, err)}
	}
	u, err := parseAddress(c.APIs.Bootstrap.URL)
	switch {
	case err != nil:
		return nil, &notControlPlane{fmt.Errorf("catalog of %s: address of the DP server: %w", cp.address, err)}
	case u.Scheme != "https":
		return nil, fmt.Errorf("catalog of %s: the DP server at %s is not https", cp.address, u.Host)
	case !anyHost && u.Hostname() != cp.address.Hostname():
		// The answer came over plain HTTP, and a certificate for some host is easily had.
		return nil, fmt.Errorf("catalog of %s names a DP server on another host, %s; give --ca-cert-file, or --cp-address=%s",
			cp.address, u.Hostname(), u)
	}
	return u, nil
}

// maxCatalog bounds the answer of the API.
const maxCatalog = 64 << 10

func (cp *controlPlane) getCatalog(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, cp.address.JoinPath("catalog").String(), nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DisableKeepAlives: true, Proxy: nil}
	resp, err := transport.RoundTrip(req) // a RoundTrip follows no redirect
	if _, ok := errors.AsType[net.Error](err); err != nil && !ok {
		return nil, &notControlPlane{err}
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &notControlPlane{errors.New(resp.Status)}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxCatalog+1))
	if err == nil && len(data) > maxCatalog {
		err = fmt.Errorf("an answer of more than %d bytes", maxCatalog)
	}
	return data, err
}

// maxResponse bounds what the control plane sends at a time.
const maxResponse = 16 << 20

// How soon it is noticed that a control plane does not answer, although nobody says that it is gone: the connection comes
// about within mostConnecting, and one that is open is given up when nothing has come for probeAfter and then a probe is
// not answered within mostProbe. gRPC probes no sooner.
const (
	mostConnecting = 5 * time.Second
	probeAfter     = 10 * time.Second
	mostProbe      = 5 * time.Second
)

// dialOptions are those of a connection to the DP server.
func dialOptions(config *tls.Config) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: mostConnecting}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: probeAfter, Timeout: mostProbe}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
		grpc.WithReadBufferSize(4 << 10), grpc.WithWriteBufferSize(4 << 10),
		grpc.WithDisableServiceConfig(), grpc.WithNoProxy(),
	}
}

// dial prepares a connection to the DP server at u. The first stream opens it; what keeps it from that is written down.
func dial(u *url.URL, config *tls.Config) (*grpc.ClientConn, *obstacle, error) {
	o := new(obstacle)
	options := append(dialOptions(config), grpc.WithContextDialer(o.dial),
		grpc.WithTransportCredentials(noting{credentials.NewTLS(config), o}))
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(u.Hostname(), u.Port()), options...)
	return conn, o, err
}
