package testenv_test

import (
	"bufio"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"koguma/testenv"
)

// deniedLines are the lines of an agent about denials to a service.
func deniedLines(s *testenv.Sidecar, service string) []string {
	return regexp.MustCompile(`(?m)^.*msg=denied .* service=`+service+` .*$`).FindAllString(s.Output(), -1)
}

// Who is denied, by which version of which permission, is in the agent's log at once; also after a change of the
// permission, and when there is another Envoy.
func TestDenialsSayWhy(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	all := m.Start(
		testenv.Proxy{Serves: []string{"backend", "db:tcp"}},
		testenv.Proxy{Serves: []string{"intruder"}, Dials: []string{"backend", "db"}},
	)
	backend, intruder := all[0], all[1]
	settles(t, "intruder's requests to backend", intruder.Out("backend"), denied)
	says := func(service, permission string) (version int) {
		t.Helper()
		want := regexp.MustCompile(`level=WARN msg=denied peer=spiffe://default/intruder from=127[0-9.:]+ service=` + service +
			` to=` + backend.In(service) + ` reason=not-permitted rule="no rule" permission=` + permission +
			` version=([0-9]+) sni=intruder\.` + service + `\.default`)
		eventually(t, 10*time.Second, "a line about "+service, func() error {
			before, began := len(deniedLines(backend, service)), time.Now()
			if service == "db" {
				_ = tcpAnswer(t.Context(), intruder.Out("db"))
			} else {
				_ = httpAnswer(t.Context(), intruder.Out("backend"))
			}
			for len(deniedLines(backend, service)) == before {
				if time.Since(began) > time.Second {
					return errors.New("no line within a second")
				}
				time.Sleep(time.Millisecond)
			}
			lines := deniedLines(backend, service)
			found := want.FindStringSubmatch(lines[len(lines)-1])
			if found == nil {
				return fmt.Errorf("the line is\n%s", lines[len(lines)-1])
			}
			version, _ = strconv.Atoi(found[1])
			return nil
		})
		return version
	}
	if v := says("backend", `""`); v != 0 {
		t.Errorf("without a permission the version is %d", v)
	}
	m.Permit("web-backend", "web", "backend")
	m.Permit("web-db", "web", "db")
	first, db := says("backend", "web-backend"), says("db", "web-db")
	m.Permit("web-backend", "web mobile", "backend")
	eventually(t, 10*time.Second, "the next version", func() error {
		if v := says("backend", "web-backend"); v <= first {
			return fmt.Errorf("version %d after %d", v, first)
		}
		return nil
	})
	if err := syscall.Kill(backend.EnvoyPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if v := says("db", "web-db"); v != db {
		t.Errorf("of db the version is %d, and nothing has changed it from %d", v, db)
	}
}

// Of a thousand denials a second, for three seconds, each is counted: by the agent as often as by Envoy itself. An HTTP
// connection counts once for each request.
func TestDenialsAreCounted(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	backend := m.Start(testenv.Proxy{Serves: []string{"backend", "db:tcp"}})[0]
	m.Permit("web-backend", "web", "backend")
	m.Permit("web-db", "web", "db")
	web, intruder := m.Identity("default", "web"), m.Identity("default", "intruder")
	for _, service := range []string{"backend", "db"} {
		eventually(t, 10*time.Second, "web to be let in", func() error {
			got := dialer{serverName: "web." + service + ".default", cert: web}.answer(t.Context(), backend, service)
			if got != allowed && got != open {
				return errors.New(got)
			}
			return nil
		})
	}
	const rate, total = 1000, 3000
	// The name in the SNI leads to the filter chain of web, which keeps connections.
	http := func(tick <-chan struct{}) error {
		c, err := dialer{serverName: "web.backend.default", cert: intruder}.dial(t.Context(), backend.In("backend"))
		if err != nil {
			return err
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for range tick {
			if got, err := exchange(c, r); got != denied {
				return fmt.Errorf("%s %v", got, err)
			}
		}
		return nil
	}
	tcp := func(tick <-chan struct{}) error {
		for range tick {
			if got := (dialer{serverName: "web.db.default", cert: intruder}).tcpAnswer(t.Context(), backend.In("db")); got != closed {
				return errors.New(got)
			}
		}
		return nil
	}
	begin := time.Now()
	for service, send := range map[string]func(<-chan struct{}) error{"backend": http, "db": tcp} {
		if err := flood(rate, total, send); err != nil {
			t.Fatalf("%s: %v", service, err)
		}
		eventually(t, 5*time.Second, "all denials of "+service+" to be counted", func() error {
			name := `kuma_dp_denied_connections_total{reason="not-permitted",service="` + service + `"}`
			if got, err := backend.Metric(t.Context(), name); got != strconv.Itoa(total) {
				return fmt.Errorf("%s is %s %v", name, got, err)
			}
			return nil
		})
	}
	stats, err := backend.Admin(t.Context(), "/stats?filter=rbac.denied$|logs_dropped")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^http\..*\.rbac\.denied: 3000$`, `(?m)^inbound_.*\.rbac\.denied: 3000$`,
		`(?m)^access_logs\.grpc_access_log\.logs_dropped: 0$`,
	} {
		if !regexp.MustCompile(want).MatchString(stats) {
			t.Errorf("Envoy has no %s:\n%s", want, stats)
		}
	}
	eventually(t, 5*time.Second, "the log to account for all", func() error {
		lines, left := strings.Count(backend.Output(), " msg=denied "), 0
		for _, told := range regexp.MustCompile(`msg="denied, without a line for each" count=([0-9]+)`).FindAllStringSubmatch(backend.Output(), -1) {
			n, _ := strconv.Atoi(told[1])
			left += n
		}
		if most := 20 + 10*int(time.Since(begin).Seconds()+1); lines > most || lines+left != 2*total {
			return fmt.Errorf("%d lines, and %d left out, want %d lines at most", lines, left, most)
		}
		return nil
	})
}

// flood lets eight senders go on as often as they can, but not more often than the rate, until the total is reached.
func flood(rate, total int, send func(tick <-chan struct{}) error) error {
	tick := make(chan struct{})
	errs := make(chan error, 8)
	var senders sync.WaitGroup
	for range cap(errs) {
		senders.Go(func() {
			errs <- send(tick)
			for range tick { // one that failed must not hold up the others
			}
		})
	}
	begin := time.Now()
	for i := range total {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		tick <- struct{}{}
	}
	close(tick)
	senders.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}
