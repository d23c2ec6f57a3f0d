package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"koguma/testenv"
)

// What each proxy that sends has to carry: requests a second of each kind, and long TCP connections.
const (
	httpRate = 225 // half over connections that stay open, half over new ones
	echoRate = 25  // over new TCP connections, each of which its Envoy opens one of its own for
	streams  = 3
)

// proxy is an agent with its Envoy, and what is sent through it to backend.
type proxy struct {
	name, service string
	http, echo    string // where backend is to be found
	agent         *testenv.Agent

	requests *testenv.Load
	echoes   *testenv.Load
	streams  *testenv.Streams
	// withdrawn is when the proxy lost its right to be in the mesh, zero while it has it. What has not ended by then does not
	// count.
	withdrawn time.Time
}

func newProxy(service string, n int) *proxy {
	return &proxy{name: fmt.Sprintf("%s-%d", service, n), service: service}
}

func (p *proxy) listen(address string, http, echo int) {
	p.http = net.JoinHostPort(address, strconv.Itoa(http))
	p.echo = net.JoinHostPort(address, strconv.Itoa(echo))
}

// awaitWay waits until backend can be reached through the proxy.
func (p *proxy) awaitWay(ctx context.Context) error {
	return testenv.Eventually(ctx, p.name+" to reach backend", func() error {
		status, body, err := testenv.Get(ctx, "http://"+p.http)
		if err == nil && status != 200 {
			err = fmt.Errorf("%d %s", status, body)
		}
		if err != nil {
			return err
		}
		return testenv.Echo(testenv.Dial(p.echo))
	})
}

func (p *proxy) send(ctx context.Context) {
	p.requests = testenv.StartLoad(ctx, p.http, httpRate)
	p.echoes = testenv.StartEchoLoad(ctx, p.echo, echoRate)
	p.streams = testenv.StartStreams(ctx, p.echo, streams)
}

// sent is the requests that were begun between two moments, and how many of the long connections were closed, as long as
// the proxy was not withdrawn.
func (p *proxy) sent(from, to time.Time) (calls testenv.Calls, cut int) {
	calls = slices.Concat(p.requests.Calls(), p.echoes.Calls()).Between(from, to)
	if !p.withdrawn.IsZero() {
		calls = calls.EndedBefore(p.withdrawn)
		if p.withdrawn.Before(to) {
			to = p.withdrawn
		}
	}
	for _, s := range p.streams.Spells() {
		if !s.Closed.Before(from) && s.Closed.Before(to) {
			cut++
		}
	}
	return calls, cut
}

// hush ends what is sent, if anything is.
func (p *proxy) hush() {
	if p.requests == nil {
		return
	}
	p.requests.Stop()
	p.echoes.Stop()
	p.streams.Stop()
}

func (p *proxy) stop() error {
	p.hush()
	if p.agent == nil {
		return nil
	}
	return p.agent.Stop(10 * time.Second)
}
