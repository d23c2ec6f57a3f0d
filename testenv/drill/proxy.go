package drill

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"

	"koguma/testenv"
)

// Load is what one proxy has to carry to backend: requests a second of each kind, and long TCP connections.
type Load struct {
	HTTP    int // half over connections that stay open, half over new ones
	Echo    int // over new TCP connections, each of which its Envoy opens one of its own for
	Streams int
}

// Proxy is an agent with its Envoy, and what is sent through it to backend.
type Proxy struct {
	Name, Service string
	Sends         Load // nothing, where it is zero
	Agent         *testenv.Agent

	Requests *testenv.Load
	Echoes   *testenv.Load
	Streams  *testenv.Streams
	// Withdrawn is when the proxy lost its right to be in the mesh, zero while it has it. What has not ended by then does
	// not count.
	Withdrawn time.Time

	address string
	ports   map[string]int // by the names that the definition has for them
}

// NewProxy is the n-th instance of a service. Its definition asks for these ports besides inHTTP and inEcho, where it
// serves, and outHTTP and outEcho, where backend is to be found.
func NewProxy(service string, n int, sends Load, ports ...string) *Proxy {
	p := &Proxy{Name: fmt.Sprintf("%s-%d", service, n), Service: service, Sends: sends, ports: map[string]int{}}
	for _, name := range append(ports, "inHTTP", "inEcho", "outHTTP", "outEcho") {
		p.ports[name] = 0
	}
	return p
}

// settle chooses where the proxy is.
func (p *Proxy) settle() error {
	p.address = testenv.Loopback()
	free, err := testenv.FreePorts(p.address, len(p.ports))
	if err != nil {
		return err
	}
	i := 0
	for name := range p.ports {
		p.ports[name] = free[i]
		i++
	}
	return nil
}

// At is the address of a port of the proxy.
func (p *Proxy) At(port string) string {
	return net.JoinHostPort(p.address, strconv.Itoa(p.ports[port]))
}

// AwaitWay waits until backend can be reached through the proxy.
func (p *Proxy) AwaitWay(ctx context.Context) error {
	return testenv.Eventually(ctx, p.Name+" to reach backend", func() error {
		if err := Ask(ctx, p.At("outHTTP")); err != nil {
			return err
		}
		return testenv.Echo(testenv.Dial(p.At("outEcho")))
	})
}

// Ask says whether an HTTP service answers at an address, over a new connection.
func Ask(ctx context.Context, address string) error {
	status, body, err := testenv.Get(ctx, "http://"+address)
	if err == nil && status != 200 {
		err = fmt.Errorf("%d %s", status, body)
	}
	return err
}

// send begins to send, and ends when ctx does or the proxy is hushed.
func (p *Proxy) send(ctx context.Context) {
	p.Requests = testenv.StartLoad(ctx, p.At("outHTTP"), p.Sends.HTTP)
	p.Echoes = testenv.StartEchoLoad(ctx, p.At("outEcho"), p.Sends.Echo)
	p.Streams = testenv.StartStreams(ctx, p.At("outEcho"), p.Sends.Streams)
}

// sent is the requests that were begun between two moments, and how many of the long connections were closed, as long as
// the proxy was not withdrawn.
func (p *Proxy) sent(from, to time.Time) (calls testenv.Calls, cut int) {
	calls = slices.Concat(p.Requests.Calls(), p.Echoes.Calls()).Between(from, to)
	if !p.Withdrawn.IsZero() {
		calls = calls.EndedBefore(p.Withdrawn)
		if p.Withdrawn.Before(to) {
			to = p.Withdrawn
		}
	}
	for _, s := range p.Streams.Spells() {
		if !s.Closed.Before(from) && s.Closed.Before(to) {
			cut++
		}
	}
	return calls, cut
}

// Hush ends what is sent, if anything is.
func (p *Proxy) Hush() {
	if p.Requests == nil {
		return
	}
	p.Requests.Stop()
	p.Echoes.Stop()
	p.Streams.Stop()
}

func (p *Proxy) stop() error {
	p.Hush()
	if p.Agent == nil {
		return nil
	}
	_ = p.Agent.Signal(syscall.SIGCONT) // it cannot end while it is stopped
	return p.Agent.Stop(10 * time.Second)
}
