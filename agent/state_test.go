package agent_test

import (
	"errors"
	"testing"
	"time"

	"koguma/xds"
)

// The control plane hears that something was taken when Envoy has taken it, and not before.
func TestAcknowledgedByEnvoy(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.set(func(s *xds.Snapshot) { s.Listeners = xds.NewSet(listener(t, "a", "1")) })
	r := start(t, config(t, cp))
	e := r.envoy()
	e.ask(xds.TypeCluster)
	e.ask(xds.TypeListener)
	clusters, listeners := e.next(xds.TypeCluster), e.next(xds.TypeListener)
	e.ack(clusters)
	cp.await(xds.Acked, xds.TypeCluster, 1)
	if cp.saw(is(xds.Acked, xds.TypeListener)) > 0 {
		t.Error("listeners acknowledged that Envoy has not taken")
	}
	e.ack(listeners)
	cp.await(xds.Acked, xds.TypeListener, 1)
	// Envoy asks for no secret; nobody will ever take them, and the control plane need not wait.
	cp.await(xds.Acked, xds.TypeSecret, 1)
}

// A refusal goes up in Envoy's own words, and the next good configuration settles it.
func TestRefusedByEnvoy(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.set(func(s *xds.Snapshot) { s.Listeners = xds.NewSet(listener(t, "good", "1")) })
	r := start(t, config(t, cp))
	e := r.envoy()
	e.takeAll()
	cp.await(xds.Acked, xds.TypeListener, 1)
	cp.set(func(s *xds.Snapshot) { s.Listeners = xds.NewSet(listener(t, "good", "1"), listener(t, "bad", "1")) })
	e.nack(e.next(xds.TypeListener), "bad: port in use")
	refused := func(e xds.Event) bool { return is(xds.Nacked, xds.TypeListener)(e) && e.Reason == "bad: port in use" }
	eventually(t, func() error {
		if cp.saw(refused) != 1 {
			return errors.New("the refusal did not arrive")
		}
		return nil
	})
	e.none(100 * time.Millisecond)

	// A new Envoy gets what the last one had, and then what it refused.
	e.close()
	e = r.envoy()
	e.ask(xds.TypeCluster)
	e.ack(e.next(xds.TypeCluster))
	e.ask(xds.TypeListener)
	last := e.next(xds.TypeListener)
	if got := namesIn(t, last); got != "good" {
		t.Errorf("a new Envoy gets listeners %q first, want the ones that were taken", got)
	}
	e.ack(last)
	again := e.next(xds.TypeListener)
	if got := namesIn(t, again); got != "bad good" {
		t.Errorf("listeners %q, want those that the control plane sent last", got)
	}
	e.nack(again, "bad: port in use")
	e.ask(xds.TypeSecret, xds.CASecretName("default"))
	e.ack(e.next(xds.TypeSecret)) // so the refusal has been read

	cp.set(func(s *xds.Snapshot) { s.Listeners = xds.NewSet(listener(t, "good", "2")) })
	e.ack(e.next(xds.TypeListener))
	cp.await(xds.Acked, xds.TypeListener, 2)
	if n := cp.saw(refused); n != 1 {
		t.Errorf("the refusal arrived %d times, want once", n)
	}
}

// What an Envoy refused and a later one takes is acknowledged after all.
func TestTakenAfterAll(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.set(func(s *xds.Snapshot) { s.Listeners = xds.NewSet(listener(t, "a", "1")) })
	r := start(t, config(t, cp))
	e := r.envoy()
	e.ask(xds.TypeCluster)
	e.ack(e.next(xds.TypeCluster))
	e.ask(xds.TypeListener)
	e.nack(e.next(xds.TypeListener), "port in use")
	cp.await(xds.Nacked, xds.TypeListener, 1)
	e.close()
	r.envoy().takeAll()
	cp.await(xds.Acked, xds.TypeListener, 1)
}

// Endpoints come and go with the clusters that need them.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.set(func(s *xds.Snapshot) {
		s.Clusters = xds.NewSet(edsCluster(t, "a"), edsCluster(t, "b"))
		s.Endpoints = xds.NewSet(endpoints(t, "a"), endpoints(t, "b"))
	})
	r := start(t, config(t, cp))
	e := r.envoy()
	e.takeAll()
	e.ask(xds.TypeEndpoint, "a", "b")
	got := e.next(xds.TypeEndpoint)
	if names := namesIn(t, got); names != "a b" {
		t.Errorf("endpoints %q", names)
	}
	e.ack(got)
	cp.set(func(s *xds.Snapshot) {
		s.Clusters, s.Endpoints = xds.NewSet(edsCluster(t, "b")), xds.NewSet(endpoints(t, "b"))
	})
	e.ack(e.next(xds.TypeCluster))
	eventually(t, func() error {
		last := ""
		cp.saw(func(e xds.Event) bool {
			if is(xds.Subscribed, xds.TypeEndpoint)(e) {
				last = ""
				for _, n := range e.Names {
					last += n
				}
			}
			return false
		})
		if last != "b" {
			return errors.New("still asks for endpoints " + last)
		}
		return nil
	})
	// A new Envoy that asks for the endpoints of the old cluster gets none.
	e = r.envoy()
	e.takeAll()
	e.ask(xds.TypeEndpoint, "a", "b")
	if names := namesIn(t, e.next(xds.TypeEndpoint)); names != "b" {
		t.Errorf("endpoints %q, want those of b", names)
	}
}

// While the control plane is away an Envoy that begins anew gets everything from memory.
func TestServesFromMemory(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.set(func(s *xds.Snapshot) { s.Listeners = xds.NewSet(listener(t, "a", "1")) })
	r := start(t, config(t, cp))
	e := r.envoy()
	e.takeAll(identityName)
	first := keyPair(t, e.secret(identityName))
	cp.down()
	e.close()
	e = r.envoy()
	e.takeAll(identityName)
	if got := keyPair(t, e.secret(identityName)); !got.Equal(first) {
		t.Error("another certificate")
	}
}

// There is nothing for Envoy before clusters and listeners have come: it would believe itself ready.
func TestNothingBeforeConfiguration(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.down()
	r := start(t, config(t, cp))
	e := r.envoy()
	e.ask(xds.TypeCluster)
	e.none(200 * time.Millisecond)
	cp.up()
	e.ack(e.next(xds.TypeCluster))
}
