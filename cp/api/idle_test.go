package api_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"koguma/cp/api"
	"koguma/cp/cptest"
)

// pipes is a listener whose connections need neither a socket nor real time.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

// Accept implements [net.Listener].
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (p *pipes) Close() error {
	p.close()
	return nil
}

// Addr implements [net.Listener].
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dial is a new connection.
func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.accept <- theirs
	return ours
}

// Bad input 34: ten thousand connections that nothing comes from, or not enough, are in nobody's way, and end when the time for
// a request is over.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	cptest.SigningKey() // out here, where other tests may wait for it
	synctest.Test(t, func(t *testing.T) {
		srv := api.NewHTTPServer(newServer(t).handler, slog.New(slog.DiscardHandler))
		l := newPipes()
		done := make(chan error, 1)
		go func() { done <- srv.Serve(l) }()
		begun := []string{
			"",
			"GET /meshes HTTP/1.1\r\nHost: local",
			"PUT /meshes/m HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
			"GET /meshes HTTP/1.1\r\nHost: localhost\r\n\r\n", // and no other
		}
		const each = 2500
		var ended atomic.Int32
		start := time.Now()
		for _, request := range begun {
			for range each {
				conn := l.dial()
				go func() {
					defer conn.Close()
					io.WriteString(conn, request)
					io.Copy(io.Discard, conn)
					ended.Add(1)
				}()
			}
		}
		synctest.Wait()
		for range 100 {
			serves(t, l.dial())
		}
		if took := time.Since(start); took > 0 || ended.Load() > 0 {
			t.Errorf("others were served after %v, and %d connections have ended before", took, ended.Load())
		}
		for _, then := range []struct {
			after time.Duration
			ended int
		}{{5 * time.Second, 2 * each}, {10 * time.Second, 3 * each}, {2 * time.Minute, 4 * each}} {
			time.Sleep(time.Until(start.Add(then.after + time.Millisecond)))
			synctest.Wait()
			if int(ended.Load()) != then.ended {
				t.Errorf("%d connections have ended after %v, want %d", ended.Load(), then.after, then.ended)
			}
		}
		srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// serves checks that a request gets its answer.
func serves(t *testing.T, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	go fmt.Fprint(conn, "GET /meshes HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("%q, %v", answer, err)
	}
}
