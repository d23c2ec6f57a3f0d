package testenv_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"koguma/policy"
	"koguma/testenv"
)

// However an Envoy ends, while there is no control plane, another one serves within two seconds from its agent's memory,
// and there is one at a time. The pauses before each grow. No token is in any file for it.
func TestEnvoyEndsInEveryWay(t *testing.T) {
	t.Parallel()
	m, backend, web := pair(t, testenv.Options{})
	m.CP.Kill()
	for _, way := range []struct {
		name string
		end  func() error
	}{
		{"killed, as by a kernel without memory", func() error { return syscall.Kill(backend.EnvoyPID(), syscall.SIGKILL) }},
		{"ended with the code 0", func() error { return quit(t.Context(), backend) }},
		{"crashed", func() error { return syscall.Kill(backend.EnvoyPID(), syscall.SIGSEGV) }},
	} {
		old := backend.EnvoyPID()
		begin := time.Now()
		if err := way.end(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "the next Envoy to serve", func() error {
			if now := backend.EnvoyPID(); now == old || now == 0 {
				return fmt.Errorf("there is none")
			}
			if got := httpAnswer(t.Context(), web.Out("backend")); got != allowed {
				return fmt.Errorf("a request gets %s", got)
			}
			return nil
		})
		took := time.Since(begin)
		t.Logf("%s: serving again after %v", way.name, took)
		if took > 2*time.Second {
			t.Errorf("%s: serving again after %v, want at most 2s", way.name, took)
		}
		if all := slices.DeleteFunc(testenv.Descendants(backend.PID()), func(pid int) bool { return !testenv.Alive(pid) }); len(all) != 1 {
			t.Errorf("%s: the agent has the processes %v, want one Envoy", way.name, all)
		}
	}
	last := -1
	for _, pause := range []string{"in=100ms", "in=200ms", "in=400ms"} {
		at := strings.Index(backend.Output(), pause)
		if at <= last {
			t.Errorf("no pause of %s after the one before", pause)
		}
		last = at
	}
	places := testenv.Places{Dirs: []string{m.Dir()}, Except: []string{filepath.Join(m.Dir(), "files"), filepath.Join(m.Dir(), "cp")}}
	if found, _, err := testenv.FindSecret(places, tokenMarks(backend.Token)...); err != nil || len(found) > 0 {
		t.Errorf("the token is in %v, %v", found, err)
	}
}

// quit has an Envoy end by itself, in good order.
func quit(ctx context.Context, s *testenv.Sidecar) error {
	sockets, err := filepath.Glob(filepath.Join(s.Dir, "kuma-dp-*", "admin.sock"))
	if err != nil || len(sockets) != 1 {
		return fmt.Errorf("admin sockets %v, %w", sockets, err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", sockets[0])
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://envoy/quitquitquit", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// An agent that is killed twenty times in a row, and started in the same folder each time, is ready each time: nothing that
// is left of the one before is in its way, or stays there, and no Envoy outlives its agent.
func TestAgentKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	_, backend, web := pair(t, testenv.Options{})
	var slowest time.Duration
	for range 20 {
		envoy := backend.EnvoyPID()
		backend.Crash()
		eventually(t, 2*time.Second, "the Envoy to die with its agent", func() error {
			if testenv.Alive(envoy) {
				return fmt.Errorf("it is alive")
			}
			return nil
		})
		begin := time.Now()
		backend.Launch()
		backend.AwaitReady()
		slowest = max(slowest, time.Since(begin))
	}
	t.Logf("ready after %v at most", slowest)
	settles(t, "web's requests", web.Out("backend"), allowed)
	if dirs, _ := filepath.Glob(filepath.Join(backend.Dir, "*")); len(dirs) != 1 {
		t.Errorf("there are %v, want the folder of the agent that lives", dirs)
	}
}

// removal is a permission that was taken away, and what was open by it.
type removal struct {
	begin time.Time
	http  net.Conn
	read  *bufio.Reader
	tcp   *testenv.Stream
}

// last is nil when a request over the HTTP connection got an answer that says it is the last, or none.
func (r removal) last() error {
	if _, err := io.WriteString(r.http, "GET / HTTP/1.1\r\nHost: backend\r\n\r\n"); err != nil {
		return nil
	}
	resp, err := http.ReadResponse(r.read, nil)
	if err != nil {
		return nil
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	if !resp.Close {
		return errors.New("there will be more")
	}
	return nil
}

// A permission that is taken away lets no new connection in from a second later on, measured from before anybody is asked to
// take it. An HTTP connection that is open gets an answer that says it is the last, and that is so, even if the peer does not
// heed it; and a TCP connection is cut when Envoy's drain time is over.
func TestPermissionRemovedInTime(t *testing.T) {
	t.Parallel()
	const drain = 4 * time.Second
	m := testenv.New(t, testenv.Options{MTLS: true, Drain: drain})
	all := m.Start(testenv.Proxy{Serves: []string{"backend", "db:tcp"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend", "db"}})
	backend, web := all[0], all[1]
	d := dialer{serverName: "web.backend.default", cert: m.Identity("default", "web")}
	var took []time.Duration
	var removals []removal
	for range 20 {
		m.Permit("p", "web", "*")
		eventually(t, 5*time.Second, "connections", func() error {
			if got := tcpAnswer(t.Context(), web.Out("db")); got != open {
				return fmt.Errorf("one is %s", got)
			}
			return nil
		})
		var r removal
		r.http, r.read = keepAlive(t, d, backend)
		r.tcp = hold(t, web.Out("db"))
		r.begin = time.Now()
		m.Forbid("p")
		eventually(t, 5*time.Second, "new connections to be denied", func() error {
			if got := tcpAnswer(t.Context(), web.Out("db")); got != closed {
				return fmt.Errorf("one is %s", got)
			}
			return nil
		})
		took = append(took, time.Since(r.begin))
		eventually(t, 5*time.Second, "the last answer", r.last)
		removals = append(removals, r)
	}
	<-time.After(drain / 4)
	for _, r := range removals {
		if time.Since(r.begin) > drain {
			continue // which is no proof any more
		}
		if got, err := exchange(r.http, r.read); err == nil {
			t.Errorf("an open HTTP connection gets %s after its last answer", got)
		}
	}
	for _, r := range removals {
		isCut(t, "a TCP connection", r.tcp, r.begin, drain+time.Second)
	}
	slices.Sort(took)
	t.Logf("new connections were denied after %v in the middle, %v at most", took[10], took[19])
	if took[19] > time.Second {
		t.Errorf("new connections were denied after %v", took[19])
	}
}

// A configuration that Envoy refuses changes nothing for those who use what was there before. The reason can be read; the
// control plane does not send it again, and the agent offers it ever more slowly. What is taken away meanwhile is away. The
// next good configuration ends it.
func TestRefusedUpdate(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	m.Permit("p", "web", "backend")
	all := m.Start(testenv.Proxy{Serves: []string{"backend", "extra:tcp"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}})
	backend, web := all[0], all[1]
	settles(t, "web's requests", web.Out("backend"), allowed)
	occupant, err := net.Listen("tcp", net.JoinHostPort(backend.Address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer occupant.Close()
	load := testenv.StartLoad(t.Context(), web.Out("backend"), 100)
	apply := func(port int) {
		d := *backend.Dataplane
		d.Networking.Inbound = slices.Clone(d.Networking.Inbound)
		d.Networking.Inbound[1].Port = port
		doc, err := policy.EncodeYAML(&d)
		if err != nil {
			t.Fatal(err)
		}
		m.Apply(string(doc))
	}
	noted := func(want bool) func() error {
		return func() error {
			table := m.Kumactl("inspect", "dataplanes")
			if got := strings.Contains(table, "Address already in use"); got != want {
				return fmt.Errorf("the table is\n%s", table)
			}
			return nil
		}
	}
	apply(occupant.Addr().(*net.TCPAddr).Port)
	eventually(t, 5*time.Second, "the reason to be in NOTES", noted(true))
	<-time.After(5 * time.Second)
	if n := strings.Count(m.CP.Output(), "the proxy refused its configuration"); n != 1 {
		t.Errorf("the control plane was told %d times, want once", n)
	}
	rejected, err := backend.Admin(t.Context(), "/stats?filter=lds.update_rejected")
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(rejected, "listener_manager.lds.update_rejected: "))); n < 1 || n > 4 {
		t.Errorf("within five seconds, %s, want it after 1, 2 and 4 of them at most", rejected)
	}
	noneLost(t, load, 400)
	m.Forbid("p")
	settles(t, "web's requests", web.Out("backend"), denied)
	m.Permit("p", "web", "backend")
	settles(t, "web's requests", web.Out("backend"), allowed)
	apply(backend.Dataplane.Networking.Inbound[1].Port)
	eventually(t, 5*time.Second, "the reason to be gone", noted(false))
	settles(t, "web's requests", web.Out("backend"), allowed)
}
