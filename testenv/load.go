package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// senders is how many go-routines send the requests of a [Load].
const senders = 8

// Load sends requests one after the other, each once: whatever happens to it, none is tried again. Half of the requests
// go over connections that stay open, and half over new ones.
type Load struct {
	stop   context.CancelFunc
	ended  sync.WaitGroup
	target string
	mu     sync.Mutex
	sent   int
	lost   []error
	slow   time.Duration
}

// StartLoad sends so many requests a second to an address.
func StartLoad(ctx context.Context, address string, rate int) *Load {
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{stop: cancel, target: address}
	for i := range senders {
		l.ended.Go(func() { l.run(ctx, senders*time.Second/time.Duration(rate), i%2 == 0) })
	}
	return l
}

// Stop ends the load. It returns how many requests were sent, how long the slowest took, and an error for each that did
// not get the answer 200.
func (l *Load) Stop() (sent int, slowest time.Duration, lost []error) {
	l.stop()
	l.ended.Wait()
	return l.sent, l.slow, l.lost
}

// Sent is how many requests have been sent so far.
func (l *Load) Sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

func (l *Load) run(ctx context.Context, every time.Duration, keep bool) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var c *wire
	defer func() { c.close() }()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		begin := time.Now()
		var err error
		if c == nil {
			c, err = dialWire(l.target)
		}
		if err == nil {
			err = c.post()
		}
		l.count(err, time.Since(begin))
		if err != nil || !keep || c.last {
			c.close()
			c = nil
		}
	}
}

func (l *Load) count(err error, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	l.slow = max(l.slow, took)
	if err != nil {
		l.lost = append(l.lost, fmt.Errorf("%s: %w", time.Now().Format(time.StampMilli), err))
	}
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

func echo(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != "ping" {
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
		tick := time.NewTicker(20 * time.Millisecond)
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
