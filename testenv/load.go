package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// kept is how many connections a [Load] keeps open.
const kept = 4

// Load sends requests at a fixed rate, whether or not those before have been answered, and each once: whatever happens to
// it, none is tried again. Half of the requests go over connections that stay open, and half over new ones.
type Load struct {
	stop  context.CancelFunc
	ended sync.WaitGroup
	rate  int
	send  func(keep bool) error
	idle  chan *wire // the connections that stay open and are not in use; nil where one is yet to be opened

	mu    sync.Mutex
	calls Calls
}

// StartLoad sends so many requests a second to an HTTP service.
func StartLoad(ctx context.Context, address string, rate int) *Load {
	l := &Load{rate: rate, idle: make(chan *wire, kept)}
	for range kept {
		l.idle <- nil
	}
	l.send = func(keep bool) error { return l.post(address, keep) }
	return l.start(ctx)
}

// StartEchoLoad asks a TCP service so many times a second to send something back, over a new connection each time.
func StartEchoLoad(ctx context.Context, address string, rate int) *Load {
	l := &Load{rate: rate}
	l.send = func(bool) error { return Echo(Dial(address)) }
	return l.start(ctx)
}

func (l *Load) start(ctx context.Context) *Load {
	ctx, l.stop = context.WithCancel(ctx)
	l.ended.Go(func() { l.run(ctx) })
	return l
}

// Stop ends the load when all that was sent is answered. It returns how many requests were sent, how long the slowest
// took, and an error for each that did not get the answer 200.
func (l *Load) Stop() (sent int, slowest time.Duration, lost []error) {
	l.stop()
	l.ended.Wait()
	for range len(l.idle) {
		(<-l.idle).close()
	}
	calls := l.Calls()
	return len(calls), calls.Took(1), calls.Lost()
}

// Sent is how many requests have been answered so far, or lost.
func (l *Load) Sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls)
}

// Calls are the requests that have been answered so far, or lost, in the order in which that happened.
func (l *Load) Calls() Calls {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// run begins a request whenever one is due. What is late because this program could not go on counts as slow.
func (l *Load) run(ctx context.Context) {
	begin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(l.rate))
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		l.ended.Go(func() {
			err := l.send(i%2 == 0)
			l.count(Call{Due: due, Took: time.Since(due), Err: err})
		})
	}
}

func (l *Load) count(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
}

// post sends one request over a connection that is free, or over a new one.
func (l *Load) post(address string, keep bool) (err error) {
	var c *wire
	if keep {
		select {
		case c = <-l.idle:
		default: // all are in use
		}
	}
	if c == nil {
		if c, err = dialWire(address); err != nil {
			return err
		}
	}
	err = c.post()
	if err != nil || !keep || c.last {
		c.close()
		c = nil
	}
	if keep {
		select {
		case l.idle <- c:
		default:
			c.close()
		}
	}
	return err
}

// wire is a connection for HTTP, without the second attempts of Go's own client.
type wire struct {
	net.Conn
	r    *bufio.Reader
	last bool // the server has said that it takes no more requests on it
}

func dialWire(address string) (*wire, error) {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &wire{Conn: c, r: bufio.NewReader(c)}, nil
}

func (w *wire) close() {
	if w != nil {
		w.Close()
	}
}

func (w *wire) post() error {
	if err := w.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(w, "POST / HTTP/1.1\r\nHost: load\r\nContent-Length: 2\r\n\r\nhi"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	w.last = resp.Close
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return err
}

// Echo says whether what is sent over a connection to a TCP workload comes back, and closes it.
func Echo(c net.Conn, err error) error {
	if err != nil {
		return err
	}
	defer c.Close()
	return echo(c)
}

// sound is what comes back. It is longer than the header of a TLS record, for which a permissive inbound waits.
const sound = "ping pong"

func echo(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, sound); err != nil {
		return err
	}
	got := make([]byte, len(sound))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != sound {
		return fmt.Errorf("%q came back", got)
	}
	return nil
}

// OpenEcho keeps a connection to a TCP workload in use, which it takes over, until either side closes it. It returns when
// something has come back for the first time.
func OpenEcho(c net.Conn, err error) (*Stream, error) {
	if err != nil {
		return nil, err
	}
	if err := echo(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	closed := make(chan time.Time, 1)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for echo(c) == nil {
			<-tick.C
		}
		c.Close()
		closed <- time.Now()
	}()
	return &Stream{Closed: closed, cancel: func() { c.Close() }}, nil
}

// Dial connects to an address, as the program behind a proxy does.
func Dial(address string) (net.Conn, error) { return net.DialTimeout("tcp", address, 5*time.Second) }
