package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"koguma/testenv"
)

const (
	// pace is how long to wait from one write to the next, where they come fast; else ten times as long.
	pace = 5 * time.Millisecond
	// patience is how long to wait for the answer to one.
	patience = 8 * time.Second
)

// write is a Secret that one of the control planes was asked to put, and what it answered. Their numbers begin with 0, and
// even ones went to the first control plane.
type write struct {
	n      int
	begin  time.Time
	took   time.Duration
	status int           // 0: there was no answer
	retry  string        // Retry-After
	err    error         // why there was none
	seen   time.Duration // until the other control plane had it too, where that was asked
}

func (w *write) acknowledged() bool { return w.status == http.StatusCreated }

// writer writes all the time. Nothing is tried again.
type writer struct {
	apis    []string
	client  *http.Client
	compare atomic.Bool // ask the other control plane for each write
	fast    atomic.Bool

	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu     sync.Mutex
	writes []write // that have an answer, or will get none
}

func newWriter(cps []*testenv.ControlPlane) *writer {
	return &writer{apis: urls(cps), client: newClient(patience)}
}

func urls(cps []*testenv.ControlPlane) (all []string) {
	for _, cp := range cps {
		all = append(all, cp.API)
	}
	return all
}

func newClient(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
}

func (w *writer) start(ctx context.Context) {
	ctx, w.cancel = context.WithCancel(ctx)
	w.ended.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		n := 0
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if i%10 == 0 || w.fast.Load() {
				w.ended.Go(func() { w.write(n) })
				n++
			}
		}
	})
}

// stop returns when all that was begun has ended.
func (w *writer) stop() {
	if w.cancel == nil {
		return
	}
	w.cancel()
	w.ended.Wait()
	w.client.CloseIdleConnections()
}

func secretName(n int) string { return fmt.Sprintf("write-%05d", n) }

func secretPath(n int) string { return "/meshes/default/secrets/" + secretName(n) }

// data is what the n-th Secret holds.
func data(n int) string { return base64.StdEncoding.EncodeToString(fmt.Append(nil, "number ", n)) }

func (w *writer) write(n int) {
	now := write{n: n, begin: time.Now()}
	body := fmt.Sprintf(`{"type":"Secret","mesh":"default","name":%q,"data":%q}`, secretName(n), data(n))
	now.status, now.retry, now.err = w.put(w.apis[n%len(w.apis)]+secretPath(n), body)
	now.took = time.Since(now.begin)
	if now.acknowledged() && w.compare.Load() {
		if w.await(w.apis[(n+1)%len(w.apis)], n) == nil {
			now.seen = time.Since(now.begin)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes = append(w.writes, now)
}

func (w *writer) put(url, body string) (status int, retry string, err error) {
	req, err := http.NewRequest(http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = errors.New(strings.TrimSpace(string(answer)))
	}
	return resp.StatusCode, resp.Header.Get("Retry-After"), err
}

// await waits until a control plane has the n-th Secret.
func (w *writer) await(api string, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := w.holds(ctx, api, n)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// holds says what is wrong if a control plane does not have the n-th Secret as it was written.
func (w *writer) holds(ctx context.Context, api string, n int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api+secretPath(n), nil)
	if err != nil {
		return err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || !strings.Contains(string(body), data(n))) {
		err = fmt.Errorf("%s: %s %s", req.URL, resp.Status, body)
	}
	return err
}

// since are the writes that were begun after a moment and have ended.
func (w *writer) since(begin time.Time) []write {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.writes), func(w write) bool { return w.begin.Before(begin) })
}

// seen is how long it took until the other control plane had what was written since, for half of it, for 99 % of it, and of
// how many.
func (w *writer) seen(since time.Time) (p50, p99 time.Duration, n int) {
	var all []time.Duration
	for _, w := range w.since(since) {
		if w.seen > 0 {
			all = append(all, w.seen)
		}
	}
	if len(all) == 0 {
		return 0, 0, 0
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100], len(all)
}

// taken waits until each of these control planes has acknowledged a write that was begun after a moment.
func (w *writer) taken(ctx context.Context, since time.Time, cps ...int) error {
	return testenv.Eventually(ctx, "writes to be taken", func() error {
		all := w.since(since)
		for _, i := range cps {
			if !slices.ContainsFunc(all, func(x write) bool { return x.acknowledged() && x.n%len(w.apis) == i }) {
				return fmt.Errorf("control plane %d has taken none of %d", i+1, len(all))
			}
		}
		return nil
	})
}

// refused is how long the slowest answer took to what was begun between two moments. Each has to be that the store is away,
// and when to come again.
func (w *writer) refused(from, to time.Time) (slowest time.Duration, n int, err error) {
	for _, x := range w.since(from) {
		if x.begin.After(to) {
			continue
		}
		if x.status != http.StatusServiceUnavailable || x.retry == "" {
			return 0, 0, fmt.Errorf("write %d, %.2f s after the store went away, is answered %d, Retry-After %q: %v",
				x.n, x.begin.Sub(from).Seconds(), x.status, x.retry, x.err)
		}
		slowest, n = max(slowest, x.took), n+1
	}
	if n == 0 {
		return 0, 0, errors.New("nothing was to be written meanwhile")
	}
	return slowest, n, nil
}
