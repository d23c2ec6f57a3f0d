package envoy_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/envoy"
)

// What Admin asks for, a real Envoy answers; and it starts without a warning.
func TestAdmin(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	var stderr bytes.Buffer
	cfg.Stderr = &stderr
	p := start(t, cfg)
	ready(t, cfg.AdminSocket)
	admin := envoy.Admin{Socket: cfg.AdminSocket}

	dump, err := admin.ConfigDump(t.Context())
	if err != nil || !bytes.Contains(dump, []byte("BootstrapConfigDump")) {
		t.Errorf("config dump: %.200s, %v", dump, err)
	}
	stats, err := admin.Stats(t.Context(), `^server\.(live|concurrency)$`)
	if want := (map[string]uint64{"server.live": 1, "server.concurrency": 1}); err != nil || !cmp.Equal(stats, want) {
		t.Errorf("stats: got %v, %v; want %v", stats, err, want)
	}
	if all, err := admin.Stats(t.Context(), ""); err != nil || len(all) < 20 {
		t.Errorf("all stats: got %v, %v", all, err)
	}
	if err := admin.DrainListeners(t.Context()); err != nil {
		t.Errorf("drain: %v", err)
	}
	if ok, err := admin.Ready(t.Context()); err != nil || !ok {
		t.Errorf("drained listeners are no end of the server: got %t, %v", ok, err)
	}
	if err := admin.FailHealthcheck(t.Context()); err != nil {
		t.Errorf("fail: %v", err)
	}
	if ok, err := admin.Ready(t.Context()); err != nil || ok {
		t.Errorf("health check made to fail: got %t, %v", ok, err)
	}

	p.Stop(5 * time.Second)
	if _, err := admin.Ready(t.Context()); err == nil {
		t.Error("an Envoy that has ended was asked")
	}
	if strings.Contains(stderr.String(), "[error]") || strings.Contains(stderr.String(), "[critical]") {
		t.Errorf("Envoy said: %s", stderr.String())
	}
}

// The requests are those that Envoy documents.
func TestAdminRequests(t *testing.T) {
	t.Parallel()
	var got []string
	admin := serve(t, func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.Method+" "+r.URL.String()) })
	_, err1 := admin.Ready(t.Context())
	_, err2 := admin.ConfigDump(t.Context())
	_, err3 := admin.Stats(t.Context(), "a|b")
	err := errors.Join(err1, err2, err3, admin.DrainListeners(t.Context()), admin.FailHealthcheck(t.Context()))
	want := []string{
		"GET /ready", "GET /config_dump?include_eds", "GET /stats?filter=a%7Cb",
		"POST /drain_listeners?graceful&skip_exit", "POST /healthcheck/fail",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
}

// Counters and gauges are taken, whatever their names; histograms and texts are not.
func TestStats(t *testing.T) {
	t.Parallel()
	var query string
	admin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.Query().Get("filter")
		_, _ = w.Write([]byte("a.b: 1\nlistener.inbound:10.0.0.1:80.cx: 18446744073709551615\ncluster.x: y: 3\n" +
			"text: \"words: 5\"\nh: P0(nan,1.0) P25(nan,2)\nnone: No recorded values\n\nodd\nnegative: -1\n"))
	})
	got, err := admin.Stats(t.Context(), "a+b c&d=é")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"a.b": 1, "listener.inbound:10.0.0.1:80.cx": 18446744073709551615, "cluster.x: y": 3}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if query != "a+b c&d=é" {
		t.Errorf("filter came as %q", query)
	}
}

// An answer other than 200 is an error with what Envoy said, shortened.
func TestAdminErrors(t *testing.T) {
	t.Parallel()
	admin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no such thing "+strings.Repeat("x", 10000), http.StatusNotFound)
	})
	for name, call := range map[string]func() error{
		"ready":  func() error { _, err := admin.Ready(t.Context()); return err },
		"drain":  func() error { return admin.DrainListeners(t.Context()) },
		"fail":   func() error { return admin.FailHealthcheck(t.Context()) },
		"config": func() error { _, err := admin.ConfigDump(t.Context()); return err },
		"stats":  func() error { _, err := admin.Stats(t.Context(), ""); return err },
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), "status 404") || len(err.Error()) > 400 {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// An answer without end is given up, and a server that does not answer is waited for no longer than the context says.
func TestAdminBounds(t *testing.T) {
	t.Parallel()
	endless := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for chunk := make([]byte, 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	if _, err := endless.ConfigDump(t.Context()); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("endless: got %v", err)
	}
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := silent.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent: got %v", err)
	}
}

// serve is an Admin whose other end is handler.
func serve(t *testing.T, handler http.HandlerFunc) envoy.Admin {
	t.Helper()
	dir, err := os.MkdirTemp("", "admin")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
		_ = os.RemoveAll(dir)
	})
	return envoy.Admin{Socket: socket}
}
