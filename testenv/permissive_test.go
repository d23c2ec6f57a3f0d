package testenv_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"koguma/policy"
	"koguma/testenv"
)

// setMode turns mTLS on in the mesh in one of its modes, and returns what the control plane says to that.
func setMode(t *testing.T, m *testenv.Mesh, mode string) string {
	t.Helper()
	body := fmt.Sprintf(`{"type":"Mesh","name":"default","mtls":{"enabledBackend":"ca-1","backends":[
		{"name":"ca-1","type":"builtin","mode":%q}]}}`, mode)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, m.CP.API+"/meshes/default", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %v", resp.Status, text, err)
	}
	return string(text)
}

// reported waits until the control plane knows that strangers come to these services, and to no others.
func reported(t *testing.T, m *testenv.Mesh, services ...string) {
	t.Helper()
	eventually(t, 10*time.Second, "the report of plaintext", func() error {
		var state policy.MeshMTLS
		text := m.Kumactl("inspect", "mtls", "-o", "json")
		if err := policy.Decode([]byte(text), &state); err != nil {
			t.Fatal(err)
		}
		for _, in := range state.Items {
			if in.Since.IsZero() || in.Connections > 0 != slices.Contains(services, in.Service) ||
				(time.Since(in.LastSeen) < 5*time.Second) != slices.Contains(services, in.Service) {
				return fmt.Errorf("%+v", in)
			}
		}
		return nil
	})
}

// Going to PERMISSIVE and back closes no connection that is under mTLS and loses no request; plaintext and the workload's
// own TLS get in while it lasts, and are cut after it; and who is denied is denied in either mode.
func TestPermissive(t *testing.T) {
	t.Parallel()
	n := newTown(t)
	setMode(t, n.Mesh, "STRICT")
	api := n.Start(testenv.Proxy{Serves: []string{"api:grpc"}}, testenv.Proxy{Name: "web-2", Serves: []string{"web"}, Dials: []string{"api"}})
	n.Permit("to-api", "web", "api")
	n.permit("p1", "web")
	settles(t, "web's requests to api", api[1].Out("api"), allowed)
	n.judged(t, n.web, true)
	plaintext := func(takes bool) {
		t.Helper()
		for _, service := range []string{"backend", "db"} {
			eventually(t, 10*time.Second, fmt.Sprintf("plaintext to %s to get through: %v", service, takes), func() error {
				if got := inPlaintext(n.backend.In(service)); got != takes {
					return fmt.Errorf("%v", got)
				}
				return nil
			})
		}
	}
	plaintext(false)

	loads := map[string]*testenv.Load{
		"HTTP":   testenv.StartLoad(t.Context(), n.web.Out("backend"), 50),
		"HTTP/2": testenv.StartLoad(t.Context(), api[1].Out("api"), 50),
		"TCP":    testenv.StartEchoLoad(t.Context(), n.web.Out("db"), 20),
	}
	streams := testenv.StartStreams(t.Context(), n.web.Out("db"), 50)
	response := stream(t, n.web.Out("backend"))
	eventually(t, 10*time.Second, "50 connections", func() error {
		if got := len(streams.Spells()); got < 50 {
			return fmt.Errorf("%d", got)
		}
		return nil
	})

	setMode(t, n.Mesh, "PERMISSIVE")
	plaintext(true)
	// An echo gives the first message of a handshake that it is sent back.
	const passed = "*tls.clientHelloMsg"
	for _, d := range []struct {
		who, protocol  string
		cert           *tls.Certificate
		let, passedOut bool
	}{
		{"web with no name", "kuma", n.Identity("default", "web"), true, false},
		{"an intruder with no name", "kuma", n.Identity("default", "intruder"), false, false},
		{"a stranger who says that he is of the mesh", "kuma", nil, false, false},
		{"TLS of the workload's own", "http/1.1", nil, false, true},
	} {
		err := withTLS(n.backend.In("db"), d.protocol, d.cert)
		if (err == nil) != d.let || (err != nil && strings.Contains(err.Error(), passed)) != d.passedOut {
			t.Errorf("%s: %v", d.who, err)
		}
	}
	isSlow(t, n.backend.In("db"))
	n.judged(t, n.web, true)
	n.judged(t, n.intruder, false)
	plain := map[string]*testenv.Stream{"HTTP": stream(t, n.backend.In("backend")), "TCP": hold(t, n.backend.In("db"))}

	reported(t, n.Mesh, "backend", "db")
	begin := time.Now()
	warnings := setMode(t, n.Mesh, "STRICT")
	for _, want := range []string{"backend at " + n.backend.In("backend"), "db at " + n.backend.In("db")} {
		if !strings.Contains(warnings, want) || strings.Contains(warnings, "web at") {
			t.Errorf("the warning is %q, want %q in it, and nobody else", warnings, want)
		}
	}
	for what, s := range plain {
		isCut(t, "plaintext "+what, s, begin, drain+time.Second)
	}
	plaintext(false)
	n.judged(t, n.intruder, false)
	staysOpen(t, begin.Add(2*drain), map[string]*testenv.Stream{"web's HTTP stream": response})
	streams.Stop()
	if got := len(streams.Spells()); got != 50 {
		t.Errorf("of 50 connections under mTLS, %d were opened again", got-50)
	}
	for what, l := range loads {
		if sent, _, lost := l.Stop(); len(lost) > 0 || sent < 50 {
			t.Errorf("%s: of %d requests, %d were lost: %v", what, sent, len(lost), lost)
		}
	}
}

// inPlaintext reports whether anything comes back from a workload of either kind.
func inPlaintext(address string) bool {
	c, err := testenv.Dial(address)
	if err != nil {
		return false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return false
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: backend\r\n\r\n"); err != nil {
		return false
	}
	_, err = io.ReadFull(c, make([]byte, 10))
	return err == nil
}

// withTLS says what becomes of a connection with TLS to a TCP workload, by a peer that offers this protocol.
func withTLS(address, protocol string, cert *tls.Certificate) error {
	config := &tls.Config{NextProtos: []string{protocol}, ServerName: "other.example.com", InsecureSkipVerify: true}
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	c, err := tls.Dial("tcp", address, config)
	return testenv.Echo(c, err)
}

// A mesh with traffic comes under mTLS by way of PERMISSIVE, and no request is lost: nobody is dialled under mTLS before he
// takes it.
func TestMTLSIsTurnedOnUnderLoad(t *testing.T) {
	t.Parallel()
	n := newTown(t)
	n.permit("p1", "web")
	n.judged(t, n.web, true)
	load := testenv.StartLoad(t.Context(), n.web.Out("backend"), 100)
	echoes := testenv.StartEchoLoad(t.Context(), n.web.Out("db"), 20)
	n.hang(t, n.backend)
	setMode(t, n.Mesh, "PERMISSIVE")
	eventually(t, 20*time.Second, "all to speak mTLS", func() error {
		var state policy.MeshMTLS
		if err := policy.Decode([]byte(n.Kumactl("inspect", "mtls", "-o", "json")), &state); err != nil {
			t.Fatal(err)
		}
		for _, in := range state.Items {
			if in.Since.IsZero() || time.Since(in.LastSeen) < 3*time.Second {
				return fmt.Errorf("%+v", in)
			}
		}
		return nil
	})
	setMode(t, n.Mesh, "STRICT")
	n.judged(t, n.intruder, false)
	n.judged(t, n.web, true)
	for what, l := range map[string]*testenv.Load{"HTTP": load, "TCP": echoes} {
		if sent, _, lost := l.Stop(); len(lost) > 0 || sent < 50 {
			t.Errorf("%s: of %d requests, %d were lost: %v", what, sent, len(lost), lost)
		}
	}
}

// mTLS is turned off by way of PERMISSIVE, and no request is lost: nobody stops to take it before the others stop to speak it.
func TestMTLSIsTurnedOffUnderLoad(t *testing.T) {
	t.Parallel()
	n := newTown(t)
	setMode(t, n.Mesh, "PERMISSIVE")
	n.permit("p1", "web")
	n.judged(t, n.web, true)
	load := testenv.StartLoad(t.Context(), n.web.Out("backend"), 100)
	echoes := testenv.StartEchoLoad(t.Context(), n.web.Out("db"), 20)
	n.hang(t, n.web)
	n.Apply("type: Mesh\nname: default\n")
	n.judged(t, n.intruder, true)
	<-time.After(2 * drain)
	for what, l := range map[string]*testenv.Load{"HTTP": load, "TCP": echoes} {
		if sent, _, lost := l.Stop(); len(lost) > 0 || sent < 50 {
			t.Errorf("%s: of %d requests, %d were lost: %v", what, sent, len(lost), lost)
		}
	}
}

// hang keeps an agent from doing anything for a while.
func (n town) hang(t *testing.T, s *testenv.Sidecar) {
	t.Helper()
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(2*time.Second, func() {
		if err := s.Signal(syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	})
}

// isSlow fails the test unless a few bytes in plaintext, which might be the beginning of TLS, get through in the end.
func isSlow(t *testing.T, address string) {
	t.Helper()
	c, err := testenv.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "hi"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
		t.Errorf("a few bytes in plaintext: %v", err)
	}
}
