package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"koguma/policy"
	"koguma/testenv"
	"koguma/token"
)

const (
	mesh      = "default"
	services  = 20
	outbounds = 5  // of each proxy
	changes   = 30 // of the permission, in one run

	idleTime = 10 * time.Second
)

// fleet is a control plane and the proxies that are connected to it.
type fleet struct {
	cp      *testenv.ControlPlane
	token   token.Raw
	proxies []*proxy
	events  chan event
	heard   atomic.Int64 // responses to all proxies
}

// serviceName is the name of one of the services, counted round and round.
func serviceName(i int) string { return fmt.Sprintf("service-%02d", (i+services)%services) }

// measureFleet starts a control plane, connects n proxies, leaves them in peace, and changes a permission again and
// again.
func measureFleet(ctx context.Context, n int, r *report) (err error) {
	dir, err := os.MkdirTemp("", "koguma-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f := &fleet{events: make(chan event, 4*n)}
	if f.cp, err = testenv.StartControlPlane(ctx, dir); err != nil {
		return err
	}
	defer f.cp.Kill()
	if err := f.prepare(ctx, dir); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	if err := f.connect(ctx, n, &running, r); err != nil {
		return err
	}
	if err := f.idle(ctx, r); err != nil {
		return err
	}
	return f.change(ctx, r)
}

// prepare makes the mesh: mTLS, and for each service a permission for those services that have an outbound to it.
func (f *fleet) prepare(ctx context.Context, dir string) error {
	docs := [][]byte{[]byte(meshYAML)}
	for s := range services {
		doc, err := policy.EncodeYAML(permission(s))
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	file := filepath.Join(dir, "mesh.yaml")
	if err := os.WriteFile(file, bytes.Join(docs, []byte("---\n")), 0o600); err != nil {
		return err
	}
	if _, err := f.cp.Kumactl(ctx, "apply", "-f", file); err != nil {
		return err
	}
	raw, err := f.cp.Kumactl(ctx, "generate", "dataplane-token", "--mesh="+mesh, "--valid-for=1h")
	f.token = token.Raw(strings.TrimSpace(raw))
	return err
}

const meshYAML = `type: Mesh
name: default
mtls:
  enabledBackend: ca-1
  backends:
    - name: ca-1
      type: builtin
`

// permission lets in at service s who has an outbound to it, and more.
func permission(s int, more ...string) *policy.TrafficPermission {
	p := &policy.TrafficPermission{
		Meta:         policy.Meta{Type: policy.TypeTrafficPermission, Mesh: mesh, Name: "to-" + serviceName(s)},
		Destinations: []policy.Selector{{Match: map[string]string{policy.TagService: serviceName(s)}}},
	}
	for i := 1; i <= outbounds; i++ {
		more = append(more, serviceName(s-i))
	}
	for _, source := range more {
		p.Sources = append(p.Sources, policy.Selector{Match: map[string]string{policy.TagService: source}})
	}
	return p
}

// dataplane is the i-th proxy: one of the services in turn, at an address of its own.
func dataplane(i int) *policy.Dataplane {
	d := &policy.Dataplane{
		Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: mesh, Name: fmt.Sprintf("proxy-%05d", i)},
		Networking: policy.Networking{
			Address: fmt.Sprintf("127.%d.%d.%d", 1+i/62500, i/250%250, 1+i%250),
			Inbound: []policy.Inbound{{
				Port: 8080, ServicePort: 80,
				Tags: map[string]string{policy.TagService: serviceName(i), policy.TagProtocol: string(policy.ProtocolHTTP)},
			}},
		},
	}
	for o := 1; o <= outbounds; o++ {
		d.Networking.Outbound = append(d.Networking.Outbound, policy.Outbound{
			Port: 10000 + o, Tags: map[string]string{policy.TagService: serviceName(i + o)}})
	}
	return d
}

// connect brings up n proxies at once and measures until each has all it needs.
func (f *fleet) connect(ctx context.Context, n int, running *sync.WaitGroup, r *report) error {
	for i := range n {
		p, err := newProxy(dataplane(i), f.events, &f.heard)
		if err != nil {
			return err
		}
		f.proxies = append(f.proxies, p)
	}
	if err := f.settle(ctx); err != nil {
		return err
	}
	memory, err := testenv.Memory(f.cp.PID())
	if err != nil {
		return err
	}
	r.add(idleMemory, mib(memory))
	cpu, err := testenv.CPU(f.cp.PID())
	if err != nil {
		return err
	}

	begin := time.Now()
	for _, p := range f.proxies {
		running.Go(func() { p.run(ctx, f.cp, f.token) })
	}
	last, err := f.await(ctx, n, "")
	if err != nil {
		return fmt.Errorf("until %d proxies are ready: %w", n, err)
	}
	r.add(readyTime, last.Sub(begin).Seconds())
	if err := f.settle(ctx); err != nil {
		return err
	}
	after, err := testenv.CPU(f.cp.PID())
	if err != nil {
		return err
	}
	r.add(cpuPerProxy, ms(after-cpu)/float64(n))
	grown, err := testenv.Memory(f.cp.PID())
	r.add(memoryPerProxy, float64(grown-memory)/1024/float64(n))
	return err
}

// await waits for n proxies to tell of the mark, and returns when the last of them saw it.
func (f *fleet) await(ctx context.Context, n int, mark string) (last time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for seen := 0; seen < n; {
		select {
		case e := <-f.events:
			if e.err != nil {
				return last, e.err
			}
			if e.mark == mark {
				seen++
				last = e.at
			}
		case <-ctx.Done():
			return last, fmt.Errorf("only %d of %d: %w\n%s", seen, n, ctx.Err(), f.cp.Tail(10))
		}
	}
	return last, nil
}

// settle waits until the control plane has nothing more to do: uses less than 2 % of a core, for longer than it lets
// a change wait.
func (f *fleet) settle(ctx context.Context) error {
	const span = 1500 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return testenv.Eventually(ctx, "the control plane to have nothing more to do", func() error {
		used, err := usedWithin(ctx, f.cp.PID(), span)
		if err == nil && used > span/50 {
			err = fmt.Errorf("it used %v in %v", used, span)
		}
		return err
	})
}

// usedWithin is the processor time that a process uses in a span of time from now.
func usedWithin(ctx context.Context, pid int, span time.Duration) (time.Duration, error) {
	before, err := testenv.CPU(pid)
	if err != nil {
		return 0, err
	}
	select {
	case <-time.After(span):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	after, err := testenv.CPU(pid)
	return after - before, err
}

// idle measures what the control plane does while nothing happens.
func (f *fleet) idle(ctx context.Context, r *report) error {
	heard := f.heard.Load()
	used, err := usedWithin(ctx, f.cp.PID(), idleTime)
	if err != nil {
		return err
	}
	r.add(idleCPU, 100*float64(used)/float64(idleTime))
	if more := f.heard.Load() - heard; more > 0 {
		return fmt.Errorf("%d responses while nothing happened", more)
	}
	return nil
}

// change changes the permission of the first service, whose proxies are n/20, and measures until the last has it.
func (f *fleet) change(ctx context.Context, r *report) error {
	concerned := (len(f.proxies) + services - 1) / services
	heard := f.heard.Load()
	var used time.Duration
	for i := range changes {
		mark := fmt.Sprintf("%s%04d", markPrefix, i)
		body, err := policy.Encode(permission(0, mark))
		if err != nil {
			return err
		}
		cpu, err := testenv.CPU(f.cp.PID())
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := f.put(ctx, "/traffic-permissions/to-"+serviceName(0), body); err != nil {
			return err
		}
		last, err := f.await(ctx, concerned, mark)
		if err != nil {
			return fmt.Errorf("until all have change %d: %w", i, err)
		}
		r.add(changeTime, ms(last.Sub(begin)))
		// What the acknowledgements cost is part of the change.
		if err := f.settle(ctx); err != nil {
			return err
		}
		after, err := testenv.CPU(f.cp.PID())
		if err != nil {
			return err
		}
		used += after - cpu
	}
	r.add(cpuPerChange, ms(used)/changes)
	r.add(toOthers, float64(f.heard.Load()-heard)/changes-float64(concerned))
	return nil
}

func (f *fleet) put(ctx context.Context, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, f.cp.API+"/meshes/"+mesh+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("PUT %s: %s: %s", path, resp.Status, answer)
	}
	return err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
