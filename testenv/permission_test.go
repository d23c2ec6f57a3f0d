package testenv_test

import (
	"testing"
	"time"

	"koguma/testenv"
)

// drain is how long Envoy lets a connection live whose permission is gone, in the tests that wait for that.
const drain = 2 * time.Second

// town is a mesh with one proxy that serves HTTP and TCP, and three that dial it.
type town struct {
	*testenv.Mesh
	backend, web, intruder, mobile *testenv.Sidecar
}

func newTown(t *testing.T) town {
	t.Helper()
	m := testenv.New(t, testenv.Options{Drain: drain})
	dials := []string{"backend", "db"}
	all := m.Start(
		testenv.Proxy{Serves: []string{"backend", "db:tcp"}},
		testenv.Proxy{Serves: []string{"web"}, Dials: dials},
		testenv.Proxy{Serves: []string{"intruder"}, Dials: dials},
		testenv.Proxy{Serves: []string{"mobile"}, Dials: dials},
	)
	return town{m, all[0], all[1], all[2], all[3]}
}

// permit lets the sources in at both services, and forbid takes that back.
func (n town) permit(name, sources string) {
	n.Permit(name+"-backend", sources, "backend")
	n.Permit(name+"-db", sources, "db")
}

func (n town) forbid(name string) {
	n.Forbid(name + "-backend")
	n.Forbid(name + "-db")
}

func (n town) judged(t *testing.T, s *testenv.Sidecar, in bool) {
	t.Helper()
	http, tcp := denied, closed
	if in {
		http, tcp = allowed, open
	}
	settles(t, s.Dataplane.Name+"'s requests to backend", s.Out("backend"), http)
	settles(t, s.Dataplane.Name+"'s connections to db", s.Out("db"), tcp)
}

// Everything is plain without mTLS; with it, only those whom a permission names get in; and what is taken away from one
// source is cut for this one, and for no other.
func TestPermissions(t *testing.T) {
	t.Parallel()
	n := newTown(t)
	n.judged(t, n.web, true)
	n.judged(t, n.intruder, true)

	n.TurnOnMTLS("default")
	for _, s := range []*testenv.Sidecar{n.web, n.intruder, n.mobile} {
		n.judged(t, s, false)
	}

	n.permit("p1", "web")
	n.judged(t, n.web, true)
	n.judged(t, n.intruder, false)

	n.permit("p1", "web intruder")
	n.judged(t, n.intruder, true)
	n.judged(t, n.mobile, false)
	webHTTP, webTCP := stream(t, n.web.Out("backend")), hold(t, n.web.Out("db"))
	intruderHTTP, intruderTCP := stream(t, n.intruder.Out("backend")), hold(t, n.intruder.Out("db"))
	load := testenv.StartLoad(t.Context(), n.web.Out("backend"), 50)
	begin := time.Now()
	n.permit("p1", "web")
	isCut(t, "intruder's HTTP stream", intruderHTTP, begin, drain+time.Second)
	isCut(t, "intruder's TCP connection", intruderTCP, begin, drain+time.Second)
	n.judged(t, n.intruder, false)
	staysOpen(t, begin.Add(2*drain), map[string]*testenv.Stream{"web's HTTP stream": webHTTP, "web's TCP connection": webTCP})
	if sent, _, lost := load.Stop(); len(lost) > 0 || sent < 50 {
		t.Errorf("of %d requests of web, %d were lost: %v", sent, len(lost), lost)
	}

	begin = time.Now()
	n.forbid("p1")
	isCut(t, "web's HTTP stream", webHTTP, begin, drain+time.Second)
	isCut(t, "web's TCP connection", webTCP, begin, drain+time.Second)
	n.judged(t, n.web, false)
}

// What leaves a source as it was, whatever else it changes, leaves its connections alone.
func TestPermissionsThatDisturbNobody(t *testing.T) {
	t.Parallel()
	n := newTown(t)
	n.TurnOnMTLS("default")
	n.permit("p1", "web")
	n.judged(t, n.web, true)
	live := map[string]*testenv.Stream{
		"web's HTTP stream":    stream(t, n.web.Out("backend")),
		"web's TCP connection": hold(t, n.web.Out("db")),
	}

	n.permit("p1", "web mobile")
	n.judged(t, n.mobile, true)
	n.permit("p2", "web intruder") // as specific as p1, and newer, so that it decides
	n.judged(t, n.intruder, true)
	n.judged(t, n.mobile, false)
	n.forbid("p1")
	n.permit("p3", "*")
	n.judged(t, n.mobile, true)
	n.forbid("p2")
	n.judged(t, n.web, true)
	mobileHTTP, mobileTCP := stream(t, n.mobile.Out("backend")), hold(t, n.mobile.Out("db"))
	begin := time.Now()
	n.permit("p3", "web")
	isCut(t, "mobile's HTTP stream", mobileHTTP, begin, drain+time.Second)
	isCut(t, "mobile's TCP connection", mobileTCP, begin, drain+time.Second)
	n.judged(t, n.mobile, false)
	staysOpen(t, begin.Add(2*drain), live)
	n.judged(t, n.web, true)
}
