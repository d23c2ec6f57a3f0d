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

	"koguma/policy"
	"koguma/xds"
)

// upstream is one stream to the control plane. It belongs to one goroutine, and a second one that only receives.
type upstream struct {
	agent  *Agent
	server string // host and port
	stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	subs   [len(typeOrder)]subscription

	introduced bool                   // the control plane has got a node
	told       policy.SoftwareVersion // ... with this version of Envoy
	held       bool                   // ... and has taken note of the certificates that this proxy still has
	letIn      time.Time

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

func (a *Agent) newUpstream(server string, stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient) *upstream {
	u := &upstream{agent: a, server: server, stream: stream, retry: newBackoff(time.Second, time.Minute)}
	for i, typ := range typeOrder {
		u.subs[i].typ = typ
	}
	return u
}

// open runs one stream to its end, and reports how long the control plane has let this proxy in; 0 if it did not.
func (a *Agent) open(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "authorization", string(a.cfg.Token)))
	defer cancel()
	server, err := a.cp.locate(ctx)
	if err != nil {
		return 0, err
	}
	conn, err := a.cp.dial(server)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	if err != nil {
		return 0, err
	}
	u := a.newUpstream(server.Host, stream)
	responses, failed := make(chan *discoveryv3.DiscoveryResponse), make(chan error, 1)
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		failed <- receive(ctx, stream, responses)
	}()
	defer a.state.disconnected()
	defer a.metrics.connected.Set(0)
	err = u.run(ctx, responses, failed)
	if u.letIn.IsZero() {
		return 0, err
	}
	return time.Since(u.letIn), err
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
func (u *upstream) run(ctx context.Context, responses <-chan *discoveryv3.DiscoveryResponse, failed <-chan error) error {
	for {
		if err := u.flush(); err != nil && !errors.Is(err, io.EOF) { // io.EOF: failed has the reason
			return err
		}
		renewal, stop := u.renewal()
		select {
		case r := <-responses:
			u.take(r)
		case <-u.agent.state.said:
		case <-renewal:
			if err := u.renew(); err != nil {
				stop()
				return err
			}
		case err := <-failed:
			stop()
			if errors.Is(err, io.EOF) {
				return errors.New("the control plane closed the stream")
			}
			return err
		case <-u.agent.leave:
			stop()
			return u.goodbye(ctx, responses, failed)
		}
		stop()
	}
}

// goodbye closes our side in good order, so that the control plane takes the proxy out at once, and gives it a moment
// to say that it did.
func (u *upstream) goodbye(ctx context.Context, responses <-chan *discoveryv3.DiscoveryResponse, failed <-chan error) error {
	if err := u.stream.CloseSend(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, parting)
	defer cancel()
	for {
		select {
		case <-responses:
		case <-failed:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// take takes in a response: what is in it goes to Envoy, or it is refused as a whole.
func (u *upstream) take(r *discoveryv3.DiscoveryResponse) {
	if u.letIn.IsZero() {
		u.letIn = time.Now()
		u.agent.accepted(u.server)
	}
	i := slices.Index(typeOrder[:], r.GetTypeUrl())
	if i < 0 {
		return // not asked for
	}
	sub := &u.subs[i]
	sub.nonce = r.GetNonce()
	sub.again = sub.again || sub.crossed
	sub.crossed = false
	u.held = u.held || sub.typ == xds.TypeSecret
	c, err := u.agent.read(r)
	if err != nil {
		u.agent.cfg.Log.Error("refused what the control plane sent", "type", short(sub.typ), "reason", err)
		u.agent.state.refuse(sub.typ, r.GetVersionInfo(), r.GetNonce(), err.Error())
		if sub.typ == xds.TypeSecret {
			u.refused = true
			u.next = time.Now().Add(u.retry.NextBackOff())
		}
		return
	}
	if sub.typ == xds.TypeSecret {
		u.refused = false
	}
	if c.renewed {
		u.retry.Reset()
		u.next = time.Time{}
		u.agent.cfg.Log.Info("certificate", "expires", u.agent.identity.notAfter(nil).UTC().Format(time.RFC3339))
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
	due := u.agent.identity.due(u.agent.state.wanted())
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
	if err := u.agent.identity.renew(u.agent.state.wanted(), now); err != nil {
		return fmt.Errorf("renew the certificate: %w", err)
	}
	if !u.next.IsZero() {
		u.agent.cfg.Log.Warn("no new certificate yet; asking again", "expires",
			u.agent.identity.notAfter(nil).UTC().Format(time.RFC3339))
	}
	u.next = now.Add(u.retry.NextBackOff())
	u.subs[slices.Index(typeOrder[:], xds.TypeSecret)].again = true
	return nil
}
