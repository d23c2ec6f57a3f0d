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
	"testing"
	"time"

	"koguma/cp"
	"koguma/cp/api"
	"koguma/cp/cptest"
)

// listen serves an API on a port of its own, with its time limits cut to a fraction of a second.
func listen(t *testing.T) (addr string) {
	t.Helper()
	srv := api.NewHTTPServer(newServer(t).handler, slog.New(slog.DiscardHandler))
	for _, limit := range []*time.Duration{&srv.ReadHeaderTimeout, &srv.ReadTimeout, &srv.WriteTimeout, &srv.IdleTimeout} {
		if *limit <= 0 || *limit > 2*time.Minute {
			t.Errorf("a limit of %v", *limit)
		}
		*limit = 500 * time.Millisecond
	}
	srv.WriteTimeout = 5 * time.Second // an answer to a slow request may take longer than the request
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// Bad input 9 and 34: who sends slowly, or nothing at all, or too much, is not waited for.
func TestSlowAndEndlessRequests(t *testing.T) {
	t.Parallel()
	addr := listen(t)
	put := "PUT " + webPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	for _, c := range []struct{ name, sent, repeated, want string }{
		{"nothing", "", "", ""},
		{"slow headers", "GET / HTTP/1.1\r\nHost: local", "", ""},
		{"slow body", put + "Content-Length: 100\r\n\r\n{", "", "HTTP/1.1 400"},
		{"endless body", put + "Transfer-Encoding: chunked\r\n\r\n", "10000\r\n" + strings.Repeat(" ", 1<<16) + "\r\n", "HTTP/1.1 4"}, // 413, unless this machine is slow
		{"announced", put + "Content-Length: 1048577\r\n\r\n", strings.Repeat(" ", 1<<16), "HTTP/1.1 413"},
		{"long headers", "GET / HTTP/1.1\r\nHost: localhost\r\n", "X: " + strings.Repeat("a", 1<<10) + "\r\n", "HTTP/1.1 431"},
		{"idle", "GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n", "", "HTTP/1.1 404"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			fmt.Fprint(conn, c.sent)
			go func() {
				for c.repeated != "" {
					if _, err := io.WriteString(conn, c.repeated); err != nil {
						return
					}
				}
			}()
			answer, err := bufio.NewReader(conn).ReadString('\n')
			if !strings.HasPrefix(answer, c.want) || c.want == "" && err == nil {
				t.Errorf("%q, %v; want %q", answer, err, c.want)
			}
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, net.ErrClosed) {
				t.Error(err)
			} else if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				t.Error("the connection stays open")
			}
		})
	}
}

// A body that does not say how long it is may not be longer than others.
func TestLongBodyOfUnknownLength(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.send(request{method: "PUT", path: webPath, body: dataplaneJSON("web-1", "web") + strings.Repeat(" ", 1<<20), chunked: true}).WantProblem(t, 413, "1 MiB")
}

// The limits that are told of are those that it goes by: up to them all is well, and beyond it is refused.
func TestLimitsHold(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	limit := func(name string) int {
		for _, l := range cp.Limits() {
			if l.Name == name {
				return int(l.Value)
			}
		}
		t.Fatalf("there is no limit %s", name)
		return 0
	}
	fill := func(body string, n int) string { return body + strings.Repeat(" ", n-len(body)) }
	dp := dataplaneJSON("web-1", "web")
	long := func(n int) string { return strings.Repeat("x", n) }
	deep := func(n int) string { // in a field whose value may be anything
		return `{"type":"Mesh","name":"m2","mtls":{"backends":[{"name":"a","type":"builtin","conf":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}]}}`
	}
	for _, c := range []struct {
		name string
		send func(n int) cptest.Response
		say  string
	}{
		{"api.body", func(n int) cptest.Response { return s.put(webPath, fill(dp, n)) }, "larger than 1 MiB"},
		{"api.page", func(n int) cptest.Response { return s.get(fmt.Sprint("/meshes?size=", n)) }, "size"},
		{"resource.mesh", func(n int) cptest.Response { return s.put("/meshes/"+long(n), `{"type":"Mesh","name":"`+long(n)+`"}`) }, "63 characters"},
		{"resource.name", func(n int) cptest.Response {
			return s.put(secretPath(long(n)), cptest.SecretJSON(long(n), []byte("x")))
		}, "253 characters"},
		{"token.id", func(n int) cptest.Response {
			return s.send(request{method: "POST", path: "/tokens/dataplane/revocations", body: `{"mesh":"default","ids":["` + long(n) + `"]}`})
		}, "128 printable"},
	} {
		n := limit(c.name)
		if r := c.send(n); r.Status >= 300 {
			t.Errorf("%s of %d: %d %s", c.name, n, r.Status, r.Body)
		}
		if r := c.send(n + 1); r.Status != 400 && r.Status != 413 || !strings.Contains(r.Body, c.say) {
			t.Errorf("%s of %d: %d %s, want %q", c.name, n+1, r.Status, r.Body, c.say)
		}
	}
	if r := s.put("/meshes/m2", deep(limit("document.depth"))); r.Status != 400 || !strings.Contains(r.Body, "too many lists") {
		t.Errorf("a document that is too deep: %d %s", r.Status, r.Body)
	}
}
