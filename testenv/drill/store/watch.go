package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"koguma/policy"
	"koguma/testenv"
	"koguma/testenv/drill"
)

// glance is how long to wait from one look to the next.
const glance = 100 * time.Millisecond

// watch looks all the time whether the Dataplanes of all proxies are there, at each control plane that answers, and whether
// each proxy has a certificate that is good.
type watch struct {
	apis    []string
	proxies []*drill.Proxy
	client  *http.Client

	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu       sync.Mutex
	missing  map[string]bool // by URL and name, as it was last
	vanished []string        // what was not there that had been
	expired  time.Duration
	excused  *drill.Proxy // was withdrawn: nothing is expected of it any more
}

func newWatch(cps []*testenv.ControlPlane, proxies []*drill.Proxy) *watch {
	return &watch{apis: urls(cps), proxies: proxies, client: newClient(time.Second), missing: map[string]bool{}}
}

func (w *watch) start(ctx context.Context) {
	ctx, w.cancel = context.WithCancel(ctx)
	for _, api := range w.apis {
		w.ended.Go(func() { repeat(ctx, func() { w.list(ctx, api) }) })
	}
	for _, p := range w.proxies {
		last := time.Now()
		w.ended.Go(func() { repeat(ctx, func() { last = w.certificate(ctx, p, last) }) })
	}
}

func repeat(ctx context.Context, f func()) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f()
		case <-ctx.Done():
			return
		}
	}
}

func (w *watch) stop() {
	if w.cancel == nil {
		return
	}
	w.cancel()
	w.ended.Wait()
	w.client.CloseIdleConnections()
}

// excuse has nothing be expected of a proxy.
func (w *watch) excuse(p *drill.Proxy) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.excused = p
}

// list looks whether a control plane has all Dataplanes. One that does not answer says nothing.
func (w *watch) list(ctx context.Context, api string) {
	names, err := dataplanes(ctx, w.client, api)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.proxies {
		key := api + " " + p.Name
		missing := !names[p.Name] && p != w.excused
		if missing && !w.missing[key] {
			w.vanished = append(w.vanished, key)
		}
		w.missing[key] = missing
	}
}

func dataplanes(ctx context.Context, client *http.Client, api string) (map[string]bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/meshes/default/dataplanes", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", req.URL, resp.Status)
	}
	var list struct {
		Items []policy.Meta `json:"items"`
	}
	if err := policy.DecodeOpen(body, &list); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, m := range list.Items {
		names[m.Name] = true
	}
	return names, nil
}

// certificate looks whether a proxy has a good certificate. What has passed since the last look, without one, is expired.
func (w *watch) certificate(ctx context.Context, p *drill.Proxy, last time.Time) time.Time {
	value, err := p.Agent.Metric(ctx, "kuma_dp_certificate_not_after_seconds")
	if err != nil {
		return last
	}
	seconds, err := strconv.ParseFloat(value, 64)
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if end := time.Unix(int64(seconds), 0); p != w.excused && (err != nil || now.After(end)) {
		w.expired += now.Sub(last)
	}
	return now
}

// counts is how many Dataplanes have vanished so far.
func (w *watch) counts() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.vanished), nil
}

func (w *watch) expiredMS() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int(w.expired.Milliseconds()), nil
}

// putOff is how many renewals of certificates have failed so far. All of those proxies have a good one.
func (d *shared) putOff(ctx context.Context) (sum int, err error) {
	for _, p := range d.Proxies {
		value, err := p.Agent.Metric(ctx, `kuma_dp_renewals_total{result="failed"}`)
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
