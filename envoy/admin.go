package envoy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Admin is the admin interface of an Envoy, at a unix socket. Each call is a connection of its own, and waits no longer
// than adminTimeout or until its context is done.
type Admin struct {
	Socket string
}

const (
	adminTimeout = 10 * time.Second
	// maxAnswer is the most bytes that Envoy's answer may have: a config dump of thousands of services is a part of it.
	maxAnswer = 64 << 20
)

// Ready says whether Envoy serves: it has its first configuration, is neither draining nor made to fail its health
// checks. An error is that Envoy could not be asked.
func (a Admin) Ready(ctx context.Context) (bool, error) {
	code, _, err := a.do(ctx, http.MethodGet, "/ready")
	switch {
	case err != nil:
		return false, err
	case code != http.StatusOK && code != http.StatusServiceUnavailable:
		return false, fmt.Errorf("envoy admin: GET /ready: status %d", code)
	}
	return code == http.StatusOK, nil
}

// DrainListeners makes Envoy ask its clients to go elsewhere. It still takes connections, and does not end.
func (a Admin) DrainListeners(ctx context.Context) error {
	_, err := a.ask(ctx, http.MethodPost, "/drain_listeners?graceful&skip_exit")
	return err
}

// FailHealthcheck makes Envoy answer to health checks, and to [Admin.Ready], that it does not serve.
func (a Admin) FailHealthcheck(ctx context.Context) error {
	_, err := a.ask(ctx, http.MethodPost, "/healthcheck/fail")
	return err
}

// ConfigDump is all the configuration that Envoy has, endpoints too, as JSON. Envoy leaves out the private keys.
func (a Admin) ConfigDump(ctx context.Context) ([]byte, error) {
	return a.ask(ctx, http.MethodGet, "/config_dump?include_eds")
}

// Stats are the counters and gauges whose names match filter, a regular expression of RE2; "" is all of them.
func (a Admin) Stats(ctx context.Context, filter string) (map[string]uint64, error) {
	text, err := a.ask(ctx, http.MethodGet, "/stats?filter="+url.QueryEscape(filter))
	if err != nil {
		return nil, err
	}
	stats := make(map[string]uint64)
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		// Histograms and texts have other things than a number there. A name may have a colon, so the last one counts.
		line := lines.Text()
		if at := strings.LastIndex(line, ": "); at >= 0 {
			if value, err := strconv.ParseUint(line[at+2:], 10, 64); err == nil {
				stats[line[:at]] = value
			}
		}
	}
	return stats, lines.Err()
}

// ask is do, for requests that have no other answer than 200.
func (a Admin) ask(ctx context.Context, method, path string) ([]byte, error) {
	code, body, err := a.do(ctx, method, path)
	if err == nil && code != http.StatusOK {
		return nil, fmt.Errorf("envoy admin: %s %s: status %d: %.200s", method, path, code, bytes.TrimSpace(body))
	}
	return body, err
}

// do sends one request and reads the whole answer.
func (a Admin) do(ctx context.Context, method, path string) (code int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://envoy"+path, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("envoy admin: %w", err)
	}
	var dialer net.Dialer
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", a.Socket)
		},
	}}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("envoy admin: %w", err)
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("envoy admin: %s %s: %w", method, path, err)
	case len(body) > maxAnswer:
		return 0, nil, fmt.Errorf("envoy admin: %s %s: answer of more than %d bytes", method, path, maxAnswer)
	}
	return response.StatusCode, body, nil
}
