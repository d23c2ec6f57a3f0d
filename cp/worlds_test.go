package cp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"koguma/xds"
)

// fleet is several control planes over one store, which tell each other of their proxies.
type fleet struct {
	*world // the first of them
	all    []*world
	pipes  map[*world][]func() // end what one tells the others, or hears from them
	stops  map[*world]func()
}

// inFleet runs a test with n control planes in a bubble. They are called a, b and so on.
func inFleet(t *testing.T, n int, test func(t *testing.T, f *fleet)) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world) {
		f := &fleet{world: w, pipes: map[*world][]func(){}, stops: map[*world]func(){}}
		for i := range n {
			o := *w
			o.renew()
			o.core.Call(string(rune('a' + i)))
			f.all = append(f.all, &o)
		}
		f.world = f.all[0]
		for _, o := range f.all {
			f.stops[o] = o.run()
			defer f.stop(o)
		}
		for i, o := range f.all {
			for _, p := range f.all[:i] {
				f.connect(o, p)
			}
		}
		defer func() {
			for _, o := range f.all {
				f.hangUp(o)
			}
		}()
		synctest.Wait()
		test(t, f)
	})
}

func (f *fleet) id(w *world) string {
	for i, o := range f.all {
		if o == w {
			return string(rune('a' + i))
		}
	}
	panic("not one of the fleet")
}

// connect has two tell each other of their proxies.
func (f *fleet) connect(a, b *world) {
	tell := func(from, to *world) {
		to.core.Unheard(f.id(from))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := from.core.Tell(ctx, to.core); !errors.Is(err, context.Canceled) {
				f.t.Error(err)
			}
		}()
		stop := func() { cancel(); <-done }
		f.pipes[a], f.pipes[b] = append(f.pipes[a], stop), append(f.pipes[b], stop)
	}
	tell(a, b)
	tell(b, a)
}

// stop stops the core of one.
func (f *fleet) stop(w *world) {
	if stop := f.stops[w]; stop != nil {
		delete(f.stops, w)
		stop()
	}
}

// hangUp has one neither tell nor hear anything any more, which nobody notices yet.
func (f *fleet) hangUp(w *world) {
	for _, stop := range f.pipes[w] {
		stop()
	}
	f.pipes[w] = nil
	synctest.Wait()
}

// cut has one and the others hear nothing of each other.
func (f *fleet) cut(w *world) {
	f.hangUp(w)
	for _, o := range f.all {
		if o != w {
			o.core.Unheard(f.id(w))
			w.core.Unheard(f.id(o))
		}
	}
	synctest.Wait()
}

// mend is the end of a cut.
func (f *fleet) mend(w *world) {
	for _, o := range f.all {
		if o != w {
			f.connect(w, o)
		}
	}
	synctest.Wait()
}

// lose has one be no more for the others.
func (f *fleet) lose(w *world) {
	f.hangUp(w)
	for _, o := range f.all {
		if o != w {
			o.core.Lost(f.id(w))
		}
	}
	synctest.Wait()
}

// agent is a proxy without mTLS, whose Envoy listens when the test says so.
func (w *world) agent(name, instance string, outbounds ...string) xds.Session {
	w.t.Helper()
	service, _, _ := strings.Cut(name, "-")
	data := brought(dataplane(name, service, outbounds...))
	data["dataplane.instance"] = instance
	s := w.session(node(w.t, "default."+name, data))
	synctest.Wait()
	return s
}

// listens has an agent take all that there is for it.
func listens(s xds.Session) {
	time.Sleep(1500 * time.Millisecond) // a Dataplane that is new may wait
	synctest.Wait()
	listening(s)
	synctest.Wait()
}

// dials checks how many endpoints of a service a session has, the whole time for that long.
func dials(t *testing.T, when string, during time.Duration, s xds.Session, service string, want int) {
	t.Helper()
	for since := time.Now(); ; time.Sleep(max(10*time.Millisecond, during/100)) {
		synctest.Wait()
		got := 0
		if snapshot, _ := s.Snapshot(); snapshot != nil {
			got = endpoints(t, snapshot, service)
		}
		if got != want {
			t.Errorf("%s: after %v there are %d endpoints of %s, want %d", when, time.Since(since), got, service, want)
			return
		}
		if time.Since(since) >= during {
			return
		}
	}
}

func (w *world) has(when, want string) {
	w.t.Helper()
	synctest.Wait()
	if got := w.names(); got != want {
		w.t.Errorf("%s there are %q, want %q", when, got, want)
	}
}
