package cp

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"koguma/certs"
	"koguma/policy"
)

const (
	// maxLine bounds one update of a peer, in bytes.
	maxLine = 16 << 20
	// minRedial and maxRedial bound the time between two attempts to reach a peer.
	minRedial = 50 * time.Millisecond
	maxRedial = time.Second
)

// errSilent is why a stream counts as broken on which nothing comes.
var errSilent = errors.New("it gives no sign of life")

// attend keeps a stream to a peer until it is gone, or the context ends.
func (p *peers) attend(ctx context.Context, q *remote) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(q.life, cancel)()
	pause := minRedial
	for {
		begun := time.Now()
		err := p.listen(ctx, q)
		if ctx.Err() != nil {
			return
		}
		p.miss(q, err)
		if time.Since(begun) > p.terms.silence { // it did answer for a while, or that was pause enough
			pause = minRedial
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, maxRedial)
	}
}

// listen takes in what a peer tells, until it tells no more.
func (p *peers) listen(ctx context.Context, q *remote) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(p.terms.silence, func() { cancel(errSilent) })
	defer silence.Stop()
	err := p.follow(ctx, q, silence)
	if cause := context.Cause(ctx); cause != nil {
		return cause // of whatever went wrong then
	}
	return err
}

// follow takes in what a peer tells over one stream, and puts off silence as long as it does.
func (p *peers) follow(ctx context.Context, q *remote, silence *time.Timer) error {
	conn, err := p.dial(ctx, q)
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url("/roll"), nil)
	if err != nil {
		return err
	}
	res, err := conn.RoundTrip(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", res.Status)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxLine)
	for begun := false; lines.Scan(); {
		silence.Reset(p.terms.silence)
		if len(lines.Bytes()) == 0 { // it is there
			continue
		}
		var u rollUpdate
		if err := policy.DecodeOpen(lines.Bytes(), &u); err != nil {
			return fmt.Errorf("what it tells of its proxies: %w", err)
		}
		if begun = begun || u.Full; !begun {
			return errors.New("it tells of changes, and not of what there was")
		}
		p.hear(q, conn, u)
	}
	return cmp.Or(lines.Err(), errors.New("its stream has ended"))
}

// dial opens the connection that all requests to a peer go over: it is the peer's that the lease is of, or none.
func (p *peers) dial(ctx context.Context, q *remote) (*http.ClientConn, error) {
	t := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: p.tls(func(instance string) error {
		if instance != q.id {
			return fmt.Errorf("control plane %s answers in its place", instance)
		}
		return nil
	})}
	t.Protocols.SetHTTP2(true)
	return t.NewClientConn(ctx, "https", q.address)
}

// tls lets only control planes of the same store be at the other end, if they are whom check takes.
func (p *peers) tls(check func(instance string) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		GetCertificate:         p.cert.get,
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.cert.get(nil) },
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // there is no host name to compare; VerifyConnection does the rest
		VerifyConnection: func(s tls.ConnectionState) error {
			instance, err := certs.CheckPeer(s.PeerCertificates, p.ca, time.Now())
			if err != nil {
				return err
			}
			return check(instance)
		},
	}
}

func (q *remote) url(path string) string { return "https://" + q.address + path }

// hear passes on what a peer tells, unless the peer is gone.
func (p *peers) hear(q *remote, conn *http.ClientConn, u rollUpdate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.life.Err() != nil {
		return
	}
	p.roll.hear(q.id, u)
	if q.conn == nil && !u.More { // all is there by now
		what := "another control plane is there"
		if q.complained {
			what = "the other control plane answers again"
		}
		p.log.Info(what, "controlPlane", q.id, "address", q.address)
		q.conn, q.complained, q.since = conn, false, time.Now()
		p.count()
	}
}

// miss notes that a peer is not heard any more, or still not. Who is only restarting is not complained of.
func (p *peers) miss(q *remote, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.life.Err() != nil {
		return
	}
	if q.conn != nil {
		q.conn, q.since = nil, time.Now()
		p.roll.unheard(q.id, q.address, q.since)
		p.count()
	}
	if !q.complained && (time.Since(q.since) > maxRedial || errors.Is(err, errSilent)) {
		q.complained = true
		p.log.Warn("another control plane does not answer; what becomes of its proxies is not known here", "controlPlane", q.id,
			"address", q.address, "error", err)
	}
}
