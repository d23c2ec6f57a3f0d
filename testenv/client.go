package testenv

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Get is the status and the body that a URL answers, over a connection of its own. The error is the connection's.
func Get(ctx context.Context, url string) (status int, body string, err error) {
	return get(ctx, &http.Transport{DisableKeepAlives: true}, url)
}

// metric is the value of a metric without labels among those at a URL.
func metric(ctx context.Context, url, name string) (string, error) {
	_, body, err := Get(ctx, url)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("no metric %s at %s", name, url)
}

// AdminGet is what Envoy's admin interface on a unix socket answers at a path, such as "/config_dump?include_eds".
func AdminGet(ctx context.Context, socket, path string) (string, error) {
	status, body, err := get(ctx, &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}, "http://envoy"+path)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("envoy admin %s: %d %s", path, status, strings.TrimSpace(body))
	}
	return body, err
}

func get(ctx context.Context, t http.RoundTripper, url string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// Stream is a response that does not end by itself: a connection that is in use.
type Stream struct {
	// Closed gets the moment at which the response ended, once.
	Closed <-chan time.Time
	cancel context.CancelFunc
}

// OpenStream gets a URL whose response does not end, over a connection of its own, and returns when the first line of
// it is there.
func OpenStream(ctx context.Context, url string) (*Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		cancel()
		return nil, err
	}
	lines := bufio.NewScanner(resp.Body)
	if resp.StatusCode != http.StatusOK || !lines.Scan() {
		cancel()
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %s, and no line of a stream", url, resp.Status)
	}
	closed := make(chan time.Time, 1)
	go func() {
		defer resp.Body.Close()
		for lines.Scan() {
		}
		closed <- time.Now()
	}()
	return &Stream{Closed: closed, cancel: cancel}, nil
}

// Close ends the stream from this side.
func (s *Stream) Close() { s.cancel() }
