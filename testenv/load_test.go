package testenv_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"koguma/testenv"
)

// A load goes on at its rate while nothing is answered, and each request is sent once.
func TestLoadDoesNotWait(t *testing.T) {
	t.Parallel()
	var came atomic.Int64
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		came.Add(1)
		<-release
	}))
	defer s.Close()
	begin := time.Now()
	load := testenv.StartLoad(t.Context(), strings.TrimPrefix(s.URL, "http://"), 200)
	eventually(t, 5*time.Second, "many requests at once", func() error {
		if n := came.Load(); n < 60 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	if took := time.Since(begin); took < 250*time.Millisecond {
		t.Errorf("60 requests came within %v, at 200 a second", took)
	}
	close(release)
	sent, slowest, lost := load.Stop()
	if int64(sent) != came.Load() || len(lost) > 0 {
		t.Errorf("%d of %d requests came, lost: %v", came.Load(), sent, lost)
	}
	if slowest < 250*time.Millisecond {
		t.Errorf("the slowest took %v, and the first was answered after 60", slowest)
	}
}

// A request over a connection that is gone is lost, and is not sent over another.
func TestLoadTriesOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var came atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			c.Close()
		}
	}()
	load := testenv.StartLoad(t.Context(), l.Addr().String(), 200)
	eventually(t, 5*time.Second, "requests", func() error {
		if load.Sent() < 20 {
			return errors.New("too few")
		}
		return nil
	})
	sent, _, lost := load.Stop()
	if len(lost) != sent || int64(sent) != came.Load() {
		t.Errorf("%d requests, %d connections, %d lost", sent, came.Load(), len(lost))
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	at := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Second) }
	lost := errors.New("lost")
	calls := testenv.Calls{{at(1), 4, nil}, {at(0), 3, lost}, {at(2), 1, lost}, {at(3), 2, lost}}
	if got := len(calls.Between(at(1), at(3))); got != 2 {
		t.Errorf("%d between the first second and the third, want 2", got)
	}
	if got := len(calls.EndedBefore(at(2).Add(1))); got != 2 {
		t.Errorf("%d had ended before the third call did, want 2", got)
	}
	if got := len(calls.Lost()); got != 3 {
		t.Errorf("%d were lost, want 3", got)
	}
	if got := calls.LostFrom(); !got.Equal(at(2)) {
		t.Errorf("lost from %v, want from %v", got, at(2))
	}
	if got := append(calls, testenv.Call{Due: at(4)}).LostFrom(); !got.IsZero() {
		t.Errorf("lost from %v, and the last was not", got)
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 2, 0.75: 3, 1: 4} {
		if got := calls.Took(q); got != want {
			t.Errorf("%v of them took up to %v, want %v", q, got, want)
		}
	}
	if got := (testenv.Calls{}).Took(0.5); got != 0 {
		t.Errorf("none took %v", got)
	}
}

// A connection that is cut is opened again, and it is known when each was open.
func TestStreamsComeBack(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var mu sync.Mutex
	var accepted []net.Conn
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			accepted = append(accepted, c)
			mu.Unlock()
			go io.Copy(c, c)
		}
	}()
	s := testenv.StartStreams(t.Context(), l.Addr().String(), 2)
	spells := func(n int) {
		t.Helper()
		eventually(t, 5*time.Second, "connections", func() error {
			if got := len(s.Spells()); got != n {
				return fmt.Errorf("there were %d, not %d", got, n)
			}
			return nil
		})
	}
	spells(2)
	mu.Lock()
	for _, c := range accepted {
		c.Close()
	}
	mu.Unlock()
	spells(4)
	s.Stop()
	for i, spell := range s.Spells() {
		if cut := !spell.Closed.IsZero(); cut != (i < 2) || cut && spell.Closed.Before(spell.Opened) {
			t.Errorf("connection %d: %+v", i, spell)
		}
	}
}
