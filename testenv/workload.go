package testenv

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Workload is a server that stands behind a proxy. It runs within this process.
type Workload struct {
	listener net.Listener
	close    func() error
}

// Port is the port of 127.0.0.1 at which the workload listens.
func (w *Workload) Port() int { return port(w.listener) }

// URL is the URL of a path of an HTTP workload, reached directly.
func (w *Workload) URL(path string) string { return "http://" + w.listener.Addr().String() + path }

// Close ends the workload and all its connections.
func (w *Workload) Close() error { return w.close() }

// ServeHTTP starts an HTTP server, of both versions, that greets under its name at every path, but at /stream sends a line every
// 50 ms for as long as somebody reads.
func ServeHTTP(name string) (*Workload, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "hello from %s\n", name) })
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := io.WriteString(w, "still here\n"); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l)
	return &Workload{l, s.Close}, nil
}

// ServeTCP starts a server that sends back what it gets.
func ServeTCP() (*Workload, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { c.Close() })
			go func() {
				defer stop()
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return &Workload{l, func() error { cancel(); return l.Close() }}, nil
}
