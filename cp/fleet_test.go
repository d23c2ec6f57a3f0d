package cp_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"koguma/cp"
	"koguma/xds"
)

// A proxy that moves to another control plane keeps its Dataplane and its traffic, whichever way its old stream ends, and
// whoever hears of what first.
func TestMove(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		left bool
		gap  time.Duration // between the end of the old stream and the new one; negative: the new one is first
	}{
		{"broken", false, 2 * time.Second},
		{"in good order", true, 50 * time.Millisecond},
		{"the new one first", true, -time.Second},
		{"the new one first, broken", false, -20 * time.Second},
	} {
		inFleet(t, 3, func(t *testing.T, f *fleet) {
			a, b, c3 := f.all[0], f.all[1], f.all[2]
			here, there := a.agent("api-1", "1", "web"), c3.agent("api-2", "1", "web")
			web := a.agent("web-1", "1")
			listens(web)
			watch := func(when string, during time.Duration) {
				t.Helper()
				dials(t, c.name+", "+when+", here", during, here, "web", 1)
				dials(t, c.name+", "+when+", there", 0, there, "web", 1)
			}
			time.Sleep(time.Second)
			watch("at first", 0)
			if c.gap >= 0 {
				web.Close(c.left)
				watch("gone", c.gap)
			}
			next := b.agent("web-1", "1")
			if c.gap < 0 {
				watch("both", min(-c.gap, time.Second))
				time.Sleep(-c.gap)
				web.Close(c.left)
			}
			watch("moved", 2*time.Second)
			listens(next)
			watch("taken", time.Minute)
			f.has(c.name, "api-1 api-2 web-1")
			for _, s := range []xds.Session{here, there, next} {
				s.Close(false)
			}
		})
	}
}

// Who says goodbye to one control plane gets no more traffic from proxies of another, and its Dataplane goes a moment later.
func TestGoodbyeElsewhere(t *testing.T) {
	t.Parallel()
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		a, b := f.all[0], f.all[1]
		api, web := a.agent("api-1", "1", "web"), b.agent("web-1", "1")
		listens(web)
		time.Sleep(time.Second)
		dials(t, "at first", 0, api, "web", 1)
		web.Close(true)
		time.Sleep(150 * time.Millisecond)
		dials(t, "left", time.Second/2, api, "web", 0)
		f.has("just after it has left", "api-1 web-1")
		time.Sleep(time.Second)
		f.has("in the end", "api-1")
		if log := f.log.String(); strings.Contains(log, "WARN") || strings.Contains(log, "ERROR") {
			t.Error(log)
		}
		api.Close(false)
	})
}

// A proxy that leaves one control plane in good order, but for another, and vanishes there, has the usual time to come back. One
// that leaves, and whose control plane goes with it, is gone.
func TestGoodbyeAndLost(t *testing.T) {
	t.Parallel()
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		a, b := f.all[0], f.all[1]
		old, left := a.agent("web-1", "1"), b.agent("left-1", "1")
		next := b.agent("web-1", "1")
		old.Close(true)
		next.Close(false)
		time.Sleep(9 * time.Second)
		f.has("within the delay", "left-1 web-1")
		time.Sleep(2 * time.Second)
		f.has("after the delay", "left-1")
		left.Close(true)
		synctest.Wait()
		f.stop(b)
		f.lose(b)
		time.Sleep(2 * time.Second)
		f.has("its control plane is lost", "")
	})
}

// While a control plane does not answer, no Dataplane is removed; and once it is lost, its proxies have a while to come to
// another.
func TestControlPlaneLost(t *testing.T) {
	t.Parallel()
	inFleet(t, 3, func(t *testing.T, f *fleet) {
		a, b, c := f.all[0], f.all[1], f.all[2]
		for _, name := range []string{"back-1", "gone-1", "moved-1"} {
			listens(b.agent(name, "1"))
		}
		lost := a.agent("lost-1", "1")
		f.cut(b)
		lost.Close(true)
		moved := c.agent("moved-1", "1")
		time.Sleep(5 * time.Minute)
		f.has("while it does not answer", "back-1 gone-1 lost-1 moved-1")
		f.lose(b)
		time.Sleep(6 * time.Second)
		f.has("once it is lost", "back-1 gone-1 moved-1") // lost-1 has waited for that
		back := a.agent("back-1", "1")
		time.Sleep(cp.RestartGrace)
		f.has("within the grace", "back-1 gone-1 moved-1")
		time.Sleep(10 * time.Second)
		f.has("after the grace", "back-1 moved-1")
		back.Close(false)
		moved.Close(false)
	})
}

// What a control plane hears again after a while of silence is all that there is, and what it has missed is made up for.
func TestHeardAgain(t *testing.T) {
	t.Parallel()
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		a, b := f.all[0], f.all[1]
		api, gone, stays := a.agent("api-1", "1", "web"), b.agent("web-1", "1"), b.agent("web-2", "1")
		listens(gone)
		listens(stays)
		f.cut(b)
		gone.Close(true)
		dials(t, "cut", time.Second, api, "web", 2)
		f.mend(b)
		time.Sleep(200 * time.Millisecond)
		dials(t, "mended", time.Second, api, "web", 1)
		time.Sleep(10 * time.Second)
		f.has("in the end", "api-1 web-2")
		api.Close(false)
		stays.Close(false)
	})
}

// An instance that comes to another control plane gets traffic from here when its Envoy has taken its listeners; and when
// that control plane does not answer, after a while without.
func TestInstanceElsewhere(t *testing.T) {
	t.Parallel()
	inFleet(t, 3, func(t *testing.T, f *fleet) {
		a, b := f.all[0], f.all[1]
		api, web := a.agent("api-1", "1", "web", "b"), b.agent("web-1", "1")
		dials(t, "it has come", 5*time.Second, api, "web", 0)
		listens(web)
		time.Sleep(time.Second)
		dials(t, "it has taken its listeners", 0, api, "web", 1)
		f.put(parse(t, dataplane("web-1", "web,b")))
		dials(t, "with another service", 5*time.Second, api, "b", 0)
		dials(t, "with the one that it had", 0, api, "web", 1)
		listens(web)
		time.Sleep(time.Second)
		dials(t, "it has taken that as well", 0, api, "b", 1)

		left := b.agent("web-9", "1")
		left.Close(true)
		synctest.Wait()
		f.cut(b)
		web2, slow := b.agent("web-2", "1"), f.all[2].agent("web-4", "1")
		dials(t, "nobody says whether it listens", 9*time.Second, api, "web", 1)
		time.Sleep(2 * cp.RestRefresh)
		dials(t, "for long", 0, api, "web", 2)
		web3 := b.agent("web-3", "1")
		dials(t, "another one", 9*time.Second, api, "web", 2)
		for _, s := range []xds.Session{api, web, web2, web3, slow} {
			s.Close(false)
		}
	})
}

// It may be heard that a proxy has taken its Dataplane before the store tells of that.
func TestHeardBeforeTheStore(t *testing.T) {
	t.Parallel()
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		api := f.agent("api-1", "1", "web")
		f.core.Unheard("b")
		web := brought(dataplane("web-1", "web"))
		f.core.Took("b", key("web-1"), 1000)
		synctest.Wait()
		next := *f.world // of which the first hears by the store alone
		next.renew()
		s := next.session(node(t, "default.web-1", web))
		time.Sleep(2 * time.Second)
		dials(t, "the store tells of it", 0, api, "web", 1)
		api.Close(false)
		s.Close(false)
	})
}

// Of two streams of one proxy at two control planes the newer one stays, and never none.
func TestTakeoverElsewhere(t *testing.T) {
	t.Parallel()
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		older := f.all[0].agent("web-1", "1")
		for i, w := range []*world{f.all[1], f.all[0], f.all[1]} {
			time.Sleep(time.Second)
			instance, why := "1", "has a newer stream"
			if i > 0 {
				instance, why = fmt.Sprint(1+i), "two proxies must not share a name"
			}
			newer := w.agent("web-1", instance)
			synctest.Wait()
			if err := cp.Ended(older); err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%d: the older one ended with %v, want %q", i, err, why)
			}
			if err := cp.Ended(newer); err != nil {
				t.Errorf("%d: the newer one ended with %v", i, err)
			}
			older.Close(false)
			older = newer
		}
		f.cut(f.all[0])
		both := []xds.Session{older, f.all[0].agent("web-1", "4")}
		f.mend(f.all[0])
		if cp.Ended(both[0]) == nil || cp.Ended(both[1]) != nil {
			t.Errorf("after the cut: %v, %v", cp.Ended(both[0]), cp.Ended(both[1]))
		}
		both[0].Close(false)
		time.Sleep(time.Minute)
		f.has("in the end", "web-1")
		both[1].Close(false)
	})
	// Within the same moment, nobody having heard of the other.
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		f.cut(f.all[0])
		a, b := f.all[0].agent("web-1", "1"), f.all[1].agent("web-1", "2")
		f.mend(f.all[0])
		if cp.Ended(a) == nil || cp.Ended(b) != nil {
			t.Errorf("a: %v, b: %v", cp.Ended(a), cp.Ended(b))
		}
		a.Close(false)
		b.Close(false)
	})
}
