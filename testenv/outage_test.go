package testenv_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"koguma/testenv"
)

// shortest is the life of certificates in tests that see them end: there are none that live less.
const shortest = 10 * time.Second

// ending is when the first of the certificates ends that these addresses present, and their serial numbers.
func ending(t *testing.T, addresses ...string) (end time.Time, serials string) {
	t.Helper()
	for _, address := range addresses {
		chain, err := testenv.ServerChain(t.Context(), address, "")
		if err != nil {
			t.Fatal(err)
		}
		if at := chain[0].NotAfter; end.IsZero() || at.Before(end) {
			end = at
		}
		serials += chain[0].SerialNumber.String() + " "
	}
	return end, serials
}

// say waits for the agents to answer with that status, and a body that has that remark in it.
func say(t *testing.T, all []*testenv.Sidecar, within time.Duration, status, remark string) {
	t.Helper()
	for _, s := range all {
		eventually(t, within, s.Dataplane.Name+" to be "+status, func() error {
			if body := ready(t, s); !strings.HasPrefix(body, status) || !strings.Contains(body, remark) {
				return fmt.Errorf("/ready says %q", body)
			}
			return nil
		})
	}
}

// A control plane that is away is missed by nobody while certificates live, though every agent says that it is away. They
// are presented to their end. From then on there is no new connection, those that are open go on, and the agents say that
// they are not ready. When the control plane is back, so are the connections, with the Envoys that there were.
func TestControlPlaneAwayForTooLong(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true, LeafLife: shortest})
	m.Permit("p", "web", "*")
	all := m.Start(
		testenv.Proxy{Serves: []string{"backend", "db:tcp"}},
		testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend", "db"}},
	)
	backend, web := all[0], all[1]
	settles(t, "web's requests", web.Out("backend"), allowed)
	settles(t, "web's connections", web.Out("db"), open)
	live := map[string]*testenv.Stream{"the HTTP stream": stream(t, web.Out("backend")), "the TCP connection": hold(t, web.Out("db"))}
	envoys := []int{backend.EnvoyPID(), web.EnvoyPID()}
	echoes := testenv.StartEchoLoad(t.Context(), web.Out("db"), 50)
	m.CP.Kill()
	presented := []string{backend.In("backend"), backend.In("db"), web.In("web")}
	end, serials := ending(t, presented...)

	say(t, all, 3*time.Second, "200 READY", "not connected to the control plane since")
	for _, s := range all {
		if connected, err := s.Connected(t.Context()); connected || err != nil {
			t.Errorf("%s says that it is connected, %v", s.Dataplane.Name, err)
		}
	}
	<-time.After(time.Until(end.Add(-700 * time.Millisecond)))
	say(t, all, 500*time.Millisecond, "200 READY", "not connected to the control plane since")
	if _, now := ending(t, presented...); now != serials {
		t.Errorf("shortly before its end, another certificate is presented: %s, and it was %s", now, serials)
	}
	<-time.After(time.Until(end.Add(3 * time.Second)))
	say(t, all, time.Second, "503 NOT_READY: the certificate expired", "not connected to the control plane since")
	if got := tcpAnswer(t.Context(), web.Out("db")); got != closed {
		t.Errorf("a new connection with certificates that have ended is %s", got)
	}
	// One that began a moment before the end may still have been under way; below, none that was over by then may have failed.
	if from := echoes.Calls().LostFrom(); from.Before(end.Add(-time.Second)) || from.After(end.Add(2*time.Second)) {
		t.Errorf("connections fail from %v on, and the certificates end at %v", from, end)
	}
	if lost := echoes.Calls().EndedBefore(end).Lost(); len(lost) > 0 {
		t.Errorf("%d connections failed while certificates lived, the first: %v", len(lost), lost[0])
	}

	begin := time.Now()
	m.StartCP()
	eventually(t, shortest, "connections to be back", func() error {
		if got := tcpAnswer(t.Context(), web.Out("db")); got != open {
			return errors.New("they are not")
		}
		return nil
	})
	t.Logf("%d connections; they were back %v after the control plane began", len(echoes.Calls()), time.Since(begin))
	say(t, all, 2*time.Second, "200 READY\n", "")
	echoes.Stop()
	if now := []int{backend.EnvoyPID(), web.EnvoyPID()}; now[0] != envoys[0] || now[1] != envoys[1] {
		t.Errorf("the Envoys are %v, and were %v", now, envoys)
	}
	staysOpen(t, time.Now(), live)
}

// Agents and Envoys that stand still for three lives of a certificate, as those of a machine that sleeps, come back by
// themselves when they go on.
func TestFrozen(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true, LeafLife: shortest})
	m.Permit("p", "web", "db")
	all := m.Start(testenv.Proxy{Serves: []string{"db:tcp"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"db"}})
	db, web := all[0], all[1]
	settles(t, "web's connections", web.Out("db"), open)
	var pids []int
	for _, s := range all {
		pids = append(pids, s.PID(), s.EnvoyPID())
	}
	signal := func(s syscall.Signal) {
		for _, pid := range pids {
			_ = syscall.Kill(pid, s)
		}
	}
	end, _ := ending(t, db.In("db"), web.In("web"))
	signal(syscall.SIGSTOP)
	t.Cleanup(func() { signal(syscall.SIGCONT) })
	<-time.After(3 * shortest)
	if left := time.Until(end); left > -shortest {
		t.Errorf("a certificate is good for %v more", left)
	}
	begin := time.Now()
	signal(syscall.SIGCONT)
	eventually(t, 10*time.Second, "a new connection", func() error {
		if tcpAnswer(t.Context(), web.Out("db")) != open {
			return errors.New("there is none")
		}
		return nil
	})
	t.Logf("back after %v", time.Since(begin))
	settles(t, "web's connections", web.Out("db"), open)
	if now := web.EnvoyPID(); now != pids[3] {
		t.Errorf("web's Envoy is %d, and was %d", now, pids[3])
	}
}
