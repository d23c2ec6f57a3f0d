package cp_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"koguma/token"
	"koguma/xds"
)

// Clients get HTTP/1.1 if they can do with it, and else the HTTP/2 of gRPC; over TLS 1.3 and nothing older.
func TestProtocols(t *testing.T) {
	t.Parallel()
	p := start(t)
	for _, c := range []struct {
		offered []string
		max     uint16
		got     string // "-" is: refused
	}{
		{[]string{"h2"}, 0, "h2"},
		{[]string{"http/1.1"}, 0, "http/1.1"},
		{[]string{"h2", "http/1.1"}, 0, "http/1.1"},
		{nil, 0, ""},
		{[]string{"http/1.0"}, 0, "-"},
		{[]string{"h2"}, tls.VersionTLS12, "-"},
		{[]string{"http/1.1"}, tls.VersionTLS12, "-"},
		{nil, tls.VersionTLS12, "-"},
	} {
		config := p.tls(c.offered...)
		config.MaxVersion = c.max
		conn, err := tls.Dial("tcp", p.addrs.DP.String(), config)
		switch {
		case c.got == "-" && err == nil:
			t.Errorf("%q up to %x was let in", c.offered, c.max)
		case c.got != "-" && err != nil:
			t.Errorf("%q: %v", c.offered, err)
		}
		if err != nil {
			continue
		}
		if s := conn.ConnectionState(); s.NegotiatedProtocol != c.got || s.Version != tls.VersionTLS13 {
			t.Errorf("%q: got %q over %x", c.offered, s.NegotiatedProtocol, s.Version)
		}
		if c.got != "h2" {
			fmt.Fprint(conn, "GET /bootstrap HTTP/1.1\r\nHost: x\r\n\r\n")
			if line := make([]byte, 12); !readFull(conn, line) || string(line) != "HTTP/1.1 405" {
				t.Errorf("%q: got %q", c.offered, line)
			}
		}
		conn.Close()
	}
}

func readFull(r io.Reader, b []byte) bool {
	_, err := io.ReadFull(r, b)
	return err == nil
}

// Who talks nonsense, or nothing, is shown out in time, and nobody has to wait for that.
func TestSilenceAndNonsense(t *testing.T) {
	t.Parallel()
	p := start(t)
	plain := func() net.Conn {
		conn, err := net.Dial("tcp", p.addrs.DP.String())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	over := func(protocol string) net.Conn {
		conn, err := tls.Dial("tcp", p.addrs.DP.String(), p.tls(protocol))
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	began := time.Now()
	conns := map[string]net.Conn{
		"nonsense":          plain(),
		"silence":           plain(),
		"half a record":     plain(),
		"silence, HTTP/2":   over("h2"),
		"nonsense, HTTP/2":  over("h2"),
		"silence, HTTP/1.1": over("http/1.1"),
		"HTTP/1.1, slowly":  over("http/1.1"),
	}
	for range 100 {
		conn := plain()
		t.Cleanup(func() { conn.Close() })
	}
	fmt.Fprint(conns["nonsense"], "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	fmt.Fprint(conns["half a record"], "\x16\x03\x01\x02\x00\x01")
	fmt.Fprint(conns["nonsense, HTTP/2"], strings.Repeat("x", 100))
	fmt.Fprint(conns["HTTP/1.1, slowly"], "POST /bootstrap HTTP/1.1\r\nHos")
	p.joinBy(p.dial(), "sotw", sign(t, token.Claims{Mesh: "default"}), node(t, "default.web-1", brought(dataplane("web-1", "web"))))
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("a proxy had to wait for %v", took)
	}
	for name, conn := range conns {
		conn.SetReadDeadline(began.Add(9 * time.Second))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is still open after %v", name, time.Since(began))
		}
		conn.Close()
	}
	if log := p.log.String(); strings.Contains(log, "panic") {
		t.Errorf("a panic: %s", log)
	}
}

// A control plane that ends takes its streams and connections along, and is at its end when Run is.
func TestEnd(t *testing.T) {
	t.Parallel()
	p := start(t)
	s := p.join("web-1", brought(dataplane("web-1", "web")))
	silent, err := net.Dial("tcp", p.addrs.DP.String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	began := time.Now()
	p.end()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := s.ads.recv(); err == nil {
		t.Error("the stream goes on")
	}
	silent.SetReadDeadline(time.Now().Add(patience))
	if n, err := silent.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection goes on: %v", err)
	}
	if conn, err := net.Dial("tcp", p.addrs.DP.String()); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
}

// Proxies that come and go leave no goroutine behind, however they go; nor does the control plane. This test runs while
// no other does.
func TestNoGoroutineIsLeft(t *testing.T) {
	base := runtime.NumGoroutine()
	settles := func(what string, at int) {
		t.Helper()
		for end := time.Now().Add(patience); runtime.NumGoroutine() > at; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("%s: %d goroutines, want %d: %s", what, runtime.NumGoroutine(), at, stacks[:runtime.Stack(stacks, true)])
			}
		}
	}
	p := start(t, delay(50*time.Millisecond))
	p.mtls("1h")
	raw := sign(t, token.Claims{Mesh: "default"})
	cycle := func(i int) {
		conn, err := grpc.NewClient(p.addrs.DP.String(), grpc.WithTransportCredentials(credentials.NewTLS(p.tls("h2"))))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		name := fmt.Sprintf("web-%d", i%7)
		s := p.open(conn, variants[i%2], raw)
		defer s.cancel()
		s.askAs(node(t, "default."+name, brought(dataplane(name, "web"))), xds.TypeCluster)
		s.ask(xds.TypeSecret, identity)
		s.next()
		switch i % 3 {
		case 0:
			s.leave()
		case 1:
			s.cancel()
		}
	}
	cycle(1)
	p.eventually("the first to be gone", func() bool { return p.metric("koguma_sessions") == 0 })
	before := runtime.NumGoroutine()
	for i := range 200 {
		cycle(i)
	}
	p.eventually("all to be gone", func() bool { return p.metric("koguma_sessions") == 0 && p.dataplanes() == "" })
	settles("after 200 proxies", before)
	p.conn.Close()
	p.end()
	settles("after the end", base)
}
