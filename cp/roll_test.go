package cp

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"koguma/policy"
)

// crowd is a sighter of proxies that are called p-0, p-1 and so on.
type crowd map[policy.Key]sighting

func (c crowd) sighted() (keys []policy.Key) {
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}

func (c crowd) sight(key policy.Key) sighting {
	if s, ok := c[key]; ok {
		return s
	}
	return forgotten(key)
}

func (c crowd) add(i int, s sighting) policy.Key {
	s.Mesh, s.Name = "m", fmt.Sprintf("p-%d", i)
	c[s.key()] = s
	return s.key()
}

// pair is a roll of a crowd, and one of nobody that hears of it.
func pair() (of crowd, from, to *roll) {
	of = crowd{}
	to = newRoll(crowd{}, func() {})
	to.unheard("a", "a:5683", time.Now())
	return of, newRoll(of, func() {}), to
}

// A cursor begins with all, in parts, and says up to where it has come when all has been told. What changes meanwhile is told
// once, as it is then.
func TestRollTellsAll(t *testing.T) {
	t.Parallel()
	of, from, to := pair()
	for i := range 2*mostSightings + 1 {
		of.add(i, sighting{Took: 1})
	}
	from.progressed(7)
	c := from.follow()
	defer c.close()
	tell := func(parts int, wantSeen int, wantProgress uint64) {
		t.Helper()
		for i := range parts {
			u, ok := c.take()
			if !ok || u.More != (i < parts-1) || len(u.Sightings) > mostSightings {
				t.Fatalf("part %d: %v, more %v, %d sightings", i, ok, u.More, len(u.Sightings))
			}
			to.hear("a", u)
		}
		if _, ok := c.take(); ok {
			t.Error("there is more")
		}
		if p := to.peers["a"]; len(p.seen) != wantSeen || p.progress != wantProgress {
			t.Errorf("%d are seen with the progress %d, want %d with %d", len(p.seen), p.progress, wantSeen, wantProgress)
		}
	}
	tell(3, 2*mostSightings+1, 7)
	for i := range 3 {
		from.touch(of.add(1, sighting{Took: uint64(i + 2)}))
	}
	from.progressed(8)
	tell(1, 2*mostSightings+1, 8)
	key := policy.Key{Type: policy.TypeDataplane, Mesh: "m", Name: "p-1"}
	if s, _, _ := to.sight(key); s.Took != 4 {
		t.Errorf("it took %d", s.Took)
	}
	delete(of, key)
	from.touch(key)
	from.progressed(8) // nothing new
	tell(1, 2*mostSightings, 8)
}

// What was known holds until all has been told again; then what is not among that is past.
func TestRollBeginsAgain(t *testing.T) {
	t.Parallel()
	_, _, to := pair()
	a, b := sighting{Mesh: "m", Name: "a"}, sighting{Mesh: "m", Name: "b"}
	seen := func(when string, wantA, wantB bool) {
		t.Helper()
		if to.there(a.key()) != wantA || to.there(b.key()) != wantB {
			t.Errorf("%s: a is there: %v, b: %v, want %v, %v", when, to.there(a.key()), to.there(b.key()), wantA, wantB)
		}
	}
	now := time.Now()
	to.hear("a", rollUpdate{Full: true, Sightings: []sighting{a, b}, Progress: 1, Now: now})
	seen("at first", true, true)
	to.unheard("a", "a:5683", now)
	seen("unheard", true, true)
	to.hear("a", rollUpdate{Full: true, More: true, Now: now})
	seen("in the midst of it", true, true)
	if to.complete() || to.has("a", 0) {
		t.Error("it counts as heard in the midst of it")
	}
	to.take()
	to.hear("a", rollUpdate{Sightings: []sighting{b}, Progress: 1, Now: now})
	seen("told again", false, true)
	if news, _, _ := to.take(); !news[a.key()] || !news[b.key()] {
		t.Errorf("the news are %v", news)
	}
	to.hear("stranger", rollUpdate{Full: true, Sightings: []sighting{a}, Progress: 1, Now: now})
	seen("a stranger", false, true)
	to.lost("a")
	seen("lost", false, false)
	if s, peer, ok := to.sight(b.key()); !ok || s.Gone == nil || peer != "" {
		t.Errorf("what is left: %+v of %q, %v", s, peer, ok)
	}
}

// The clocks of control planes differ. Times by which something is waited for are by our own; which stream is the newer is for
// all to see the same way.
func TestRollClocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, _, to := pair()
		now, theirs := time.Now(), time.Now().Add(-time.Hour)
		s := sighting{
			Mesh: "m", Name: "a", Since: theirs,
			Uses: secretUse{Since: theirs, States: []secretState{{RootsAt: theirs}}},
			Gone: &goneBy{At: theirs},
		}
		to.hear("a", rollUpdate{Full: true, Sightings: []sighting{s}, Progress: 1, Now: theirs})
		got, _, _ := to.sight(s.key())
		if !got.Since.Equal(theirs) || !got.Uses.Since.Equal(now) || !got.Gone.At.Equal(now) ||
			!got.Uses.States[0].RootsAt.Equal(now) || !got.Uses.States[0].LeavesAt.IsZero() {
			t.Errorf("heard: %+v, gone %+v", got, got.Gone)
		}
	})
}
