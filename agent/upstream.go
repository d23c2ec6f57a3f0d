package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"koguma/mistake"
	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// upstream is one stream to the control plane. It belongs to one goroutine, and a second one that only receives.
type upstream struct {
	agent     *Agent
	cp        *controlPlane
	token     token.Held // that it was opened with
	former    token.Held // that of the stream before it; none if there was none
	server    string     // host and port
	stream    discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	responses chan *discoveryv3.DiscoveryResponse
	failed    chan error                     // why no more come
	first     *discoveryv3.DiscoveryResponse // that came while it was opened
	letIn     time.Time                      // when that was
	close     func()                         // ends it, if need be, and returns when nothing of it is left
	subs      [len(typeOrder)]subscription

	introduced bool                   // the control plane has got a node
	told       policy.SoftwareVersion // ... with this version of Envoy
	held       bool                   // ... and has taken note of the certificates that this proxy still has

	retry *backoff.ExponentialBackOff // between two requests for one renewal
	next  time.Time                   // no request for a renewal before this
	// refused: the agent could not use the secrets that came last, so that it asks for others.
	refused bool
}

// subscription is what the control plane was asked for of one type, and what the newest response was.
type subscription struct {
	typ      string
	asked    bool
	names    []string // in the newest request
	nonce    string   // of the newest response
	accepted string   // the version that was accepted last
	// crossed: names changed in a request that may have crossed with a response, in which case it was not read.
	crossed bool
	again   bool // ask, even if there is nothing new
}

// begin opens a stream to a control plane with a token, and returns when the control plane has let the proxy in. It asks for
// nothing but the clusters, which are always answered, and touches no state: there may be another stream, which goes on. The new
// one ends with ctx, which cancel ends when it is closed or does not come about.
func (a *Agent) begin(ctx context.Context, cancel func(), cp *controlPlane, held token.Held) (_ *upstream, err error) {
	u := &upstream{agent: a, cp: cp, token: held, retry: newBackoff(time.Second, time.Minute), close: cancel,
		responses: make(chan *discoveryv3.DiscoveryResponse), failed: make(chan error, 1)}
	var met *obstacle // nil until there is a connection
	defer func() {
		if err != nil {
			u.close()
			err = a.mistaken(cp, held, met.replace(err))
		}
	}()
	for i, typ := range typeOrder {
		u.subs[i].typ = typ
	}
	trust, err := cp.trust(held.Claims.Pin)
	if err != nil {
		return nil, err
	}
	server, err := cp.locate(ctx, trust.anyHost)
	if err != nil {
		return nil, err
	}
	conn, o, err := dial(server, trust.tls)
	if err != nil {
		return nil, err
	}
	met = o
	u.server = server.Host
	u.close = func() { cancel(); _ = conn.Close() }
	if held.Raw != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", string(held.Raw))
	}
	u.stream, err = discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	u.close = func() { cancel(); <-done; _ = conn.Close() }
	go func() {
		defer close(done)
		u.failed <- receive(ctx, u.stream, u.responses)
	}()
	if err := u.awaitFirst(); err != nil {
		return nil, err
	}
	return u, nil
}

// mostAnswer is how long a control plane may take to let the proxy in if there is another. It has to judge the token and the
// Dataplane, for which it may have to wait for its store; where it is the only one, any time is better than none.
const mostAnswer = 10 * time.Second

// awaitFirst asks for the clusters, and waits for them.
func (u *upstream) awaitFirst() error {
	sub := u.sub(xds.TypeCluster)
	sub.asked = true
	if err := u.send(sub, verdict{}); err != nil && !errors.Is(err, io.EOF) { // io.EOF: failed has the reason
		return err
	}
	var late <-chan time.Time
	if len(u.agent.planes) > 1 {
		late = time.After(mostAnswer)
	}
	select {
	case u.first = <-u.responses:
		u.letIn = time.Now()
		return nil
	case <-late:
		return fmt.Errorf("no answer within %v", mostAnswer)
	case err := <-u.failed:
		return ended(err)
	}
}

// ended is why a stream gives no more.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the control plane closed the stream")
	}
	return err
}

// sub is the subscription of a type; nil if it is none that is asked for.
func (u *upstream) sub(typ string) *subscription {
	i := slices.Index(typeOrder[:], typ)
	if i < 0 {
		return nil
	}
	return &u.subs[i]
}

// receive hands on responses until there are no more.
func receive(ctx context.Context, stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient,
	out chan<- *discoveryv3.DiscoveryResponse) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		select {
		case out <- r:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run asks, takes in and answers until the stream ends or the agent leaves, which is the end without an error.
func (u *upstream) run() error {
	u.take(u.first)
	u.agent.plaintext.tell() // this control plane has not been told, or may have forgotten
	now := time.Now()
	if u.token.Claims.ExpiresAt.After(u.former.Claims.ExpiresAt) {
		u.agent.identity.hasten(u.former.Claims.ExpiresAt, now)
	}
	// What has become due while there was no stream is asked for at once, and not after what it replaces.
	if due := u.agent.identity.due(u.agent.renewable(now)); !due.IsZero() && !due.After(now) {
		if err := u.renew(); err != nil {
			return err
		}
	}
	for {
		if err := u.flush(); err != nil && !errors.Is(err, io.EOF) { // io.EOF: failed has the reason
			return err
		}
		renewal, stop := u.renewal()
		select {
		case r := <-u.responses:
			u.take(r)
		case <-u.agent.state.said:
		case <-u.agent.plaintext.news:
			if err := u.report(); err != nil && !errors.Is(err, io.EOF) { // io.EOF: failed has the reason
				stop()
				return err
			}
		case <-renewal:
			if err := u.renew(); err != nil {
				stop()
				return err
			}
		case err := <-u.failed:
			stop()
			return ended(err)
		case <-u.agent.leave:
			stop()
			return u.goodbye()
		}
		stop()
	}
}

// goodbye closes our side in good order, so that the control plane takes the proxy out at once, and gives it a moment
// to say that it did.
func (u *upstream) goodbye() error {
	if err := u.stream.CloseSend(); err != nil {
		return err
	}
	timeout := time.After(parting)
	for {
		select {
		case <-u.responses:
		case <-u.failed: // ours, too, if it was closed
			return nil
		case <-timeout:
			return nil
		}
	}
}

// take takes in a response: what is in it goes to Envoy, or it is refused as a whole.
func (u *upstream) take(r *discoveryv3.DiscoveryResponse) {
	sub := u.sub(r.GetTypeUrl())
	if sub == nil {
		return // not asked for
	}
	sub.nonce = r.GetNonce()
	sub.again = sub.again || sub.crossed
	sub.crossed = false
	u.held = u.held || sub.typ == xds.TypeSecret
	c, err := u.agent.read(r)
	if err != nil {
		attrs := []any{"type", short(sub.typ), "reason", err}
		u.agent.cfg.Log.Error("refused what the control plane sent", append(attrs, mistake.Attrs(err)...)...)
		u.agent.state.refuse(sub.typ, r.GetVersionInfo(), r.GetNonce(), err.Error())
		if sub.typ == xds.TypeSecret {
			u.agent.history.failed(err.Error())
			u.refused = true
			u.next = u.afterPause(time.Now())
		}
		return
	}
	if sub.typ == xds.TypeSecret {
		u.refused = false
	}
	if c.renewed {
		u.retry.Reset()
		u.next = time.Time{}
		u.agent.history.renewed()
		u.agent.cfg.Log.Info("certificate", "expires", u.agent.identity.notAfter(nil).UTC().Format(time.RFC3339))
	}
	if sub.typ == xds.TypeListener {
		u.agent.denials.learn(c.notes)
		u.agent.plaintext.watch(c.notes, time.Now())
	}
	u.agent.state.receive(sub.typ, r.GetVersionInfo(), r.GetNonce(), c.resources, c.endpoints)
}

// flush sends what there is to say: answers, and changes of what is asked for.
func (u *upstream) flush() error {
	for i := range u.subs {
		sub := &u.subs[i]
		names := u.agent.state.names(sub.typ, u.agent.base)
		v, answered := u.agent.state.answer(sub.typ)
		changed := sub.asked && !slices.Equal(names, sub.names)
		begin := !sub.asked && (len(names) > 0 || full(sub.typ))
		if !answered && !changed && !begin && !sub.again {
			continue
		}
		sub.asked, sub.names, sub.again, sub.crossed = true, names, false, changed && !answered
		if err := u.send(sub, v); err != nil {
			return err
		}
	}
	return nil
}

// send sends one request, which is an answer if v has a nonce.
func (u *upstream) send(sub *subscription, v verdict) error {
	r := &discoveryv3.DiscoveryRequest{TypeUrl: sub.typ, ResourceNames: sub.names, ResponseNonce: sub.nonce}
	switch {
	case v.refusal != "":
		r.ErrorDetail = &statuspb.Status{Code: int32(codes.InvalidArgument), Message: v.refusal}
	case v.nonce != "":
		sub.accepted = v.version
	}
	r.VersionInfo = sub.accepted
	if err := u.introduce(r); err != nil {
		return err
	}
	return u.stream.Send(r)
}

// introduce puts the node into the first request, into those for secrets, which carry the certificate request, and into
// the first after another Envoy has connected.
func (u *upstream) introduce(r *discoveryv3.DiscoveryRequest) (err error) {
	secrets := r.GetTypeUrl() == xds.TypeSecret
	version := u.agent.state.envoyVersion()
	if u.introduced && !secrets && u.told == version {
		return nil
	}
	u.told = version
	r.Node, err = u.agent.node(!u.introduced, secrets, secrets && !u.held)
	u.introduced = true
	return err
}

// renewal fires when a certificate should be asked for anew.
func (u *upstream) renewal() (c <-chan time.Time, stop func() bool) {
	due := u.agent.identity.due(u.agent.renewable(time.Now()))
	switch {
	case u.refused || due.Before(u.next) && !due.IsZero():
		due = u.next
	case due.IsZero():
		return nil, func() bool { return false }
	}
	t := time.NewTimer(time.Until(due))
	return t.C, t.Stop
}

// renew asks for new certificates, with the next request. Until they come it is repeated, ever more slowly.
func (u *upstream) renew() error {
	now := time.Now()
	if err := u.agent.identity.renew(u.agent.renewable(now), now); err != nil {
		return fmt.Errorf("renew the certificate: %w", err)
	}
	if !u.next.IsZero() {
		if !u.refused { // else that was the failure
			u.agent.history.failed("the control plane has been asked for a new certificate, and none has come yet")
		}
		u.agent.cfg.Log.Warn("no new certificate yet; asking again", "expires",
			u.agent.identity.notAfter(nil).UTC().Format(time.RFC3339))
	}
	u.next = u.afterPause(now)
	u.sub(xds.TypeSecret).again = true
	return nil
}

// afterPause is when to ask again for what did not come: ever later, but no later than after a quarter of what is left of
// the certificate.
func (u *upstream) afterPause(now time.Time) time.Time {
	pause := u.retry.NextBackOff()
	if left := u.agent.identity.notAfter(nil).Sub(now); left > 0 {
		pause = min(pause, max(time.Second, left/4))
	}
	return now.Add(pause)
}
