package doctor_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"koguma/doctor"
)

// nobody is an address at which nobody listens by now.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.211.7.9:0") // whose ports nobody draws but this
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

// Who cannot be reached is told from who does not answer, and each in time.
func TestDial(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		nobody(t):              "nobody listens at 127.211.7.9:",
		"no.such.invalid:5678": "the name no.such.invalid cannot be resolved: no such host",
		"nowhere":              "missing port",
	} {
		conn, next, err := doctor.Dial(t.Context(), address)
		if conn != nil || err == nil || !strings.Contains(err.Error(), want) || next == "" {
			t.Errorf("%s: %v, next %q; want %s", address, err, next, want)
		}
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, _, err := doctor.Dial(ctx, "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "no answer from 127.0.0.1:1") {
		t.Errorf("no time: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, _, err := doctor.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// It is told what listens at an address, as far as that shows, and nothing waits for who says nothing.
func TestWhoIs(t *testing.T) {
	t.Parallel()
	say := func(server, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Server", server)
			w.Write([]byte(text))
		}
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes connections, and nobody reads them
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	for _, c := range []struct {
		name, address, want string
	}{
		{"the API", serve(t, httptest.NewUnstartedServer(say("", `{"product":"Koguma","version":"1"}`))), doctor.TheAPI},
		{"an Envoy", serve(t, httptest.NewUnstartedServer(say("envoy", "no"))), "an Envoy, HTTP"},
		{"HTTP", serve(t, httptest.NewUnstartedServer(say("", `{"product":"other"}`))), "an HTTP server without TLS"},
		{"TLS", serveTLS(t, httptest.NewUnstartedServer(say("", "{}"))), "a TLS server whose certificate is for example.com, *.example.com, 127.0.0.1, ::1, issued by O=Acme Co"},
		{"silence", silent.Addr().String(), ""},
		{"nobody", nobody(t), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			if c.name == "silence" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
			}
			if got := doctor.WhoIs(ctx, c.address); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func serve(t *testing.T, s *httptest.Server) string {
	t.Helper()
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	s.Start()
	return s.Listener.Addr().String()
}

func serveTLS(t *testing.T, s *httptest.Server) string {
	t.Helper()
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	s.StartTLS()
	return s.Listener.Addr().String()
}

// A certificate of a server is worth a word in its last week, unless it never lives longer.
func TestCertificate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for _, c := range []struct {
		name      string
		past, yet time.Duration
		want      doctor.Result
	}{
		{"young", day, 29 * day, doctor.OK},
		{"old", 25 * day, 5 * day, doctor.Warning},
		{"short", 3 * day, 4 * day, doctor.OK},
	} {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: "x"}, NotBefore: now.Add(-c.past), NotAfter: now.Add(c.yet)}
		if got := doctor.Certificate("cp", cert, "known", now); got.Result != c.want || !strings.Contains(got.Seen, "for CN=x") {
			t.Errorf("%s: %+v, want %s", c.name, got, c.want)
		}
	}
}
