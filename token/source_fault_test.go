package token_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"koguma/token"
)

// What is no good is said once, however long it is there, and the last good token stays.
func TestSourceKeepsTheLastGood(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, want string
		spoil      func(t testing.TB, file string, good token.Raw)
	}{
		{"empty", "is empty", func(t testing.TB, file string, _ token.Raw) { do(t, os.Truncate(file, 0)) }},
		{"garbage", "cannot be read", func(t testing.TB, file string, _ token.Raw) { write(t, file, "hunter2") }},
		{"half", "cannot be read", func(t testing.TB, file string, good token.Raw) { do(t, os.Truncate(file, int64(len(good)/4))) }},
		{"without its end", "the end of the token is missing", func(t testing.TB, file string, good token.Raw) {
			do(t, os.Truncate(file, int64(strings.LastIndexByte(string(good), '.')+1+128)))
		}},
		{"two lines", "line break", func(t testing.TB, file string, good token.Raw) { write(t, file, string(good)+"\n\n") }},
		{"expired", "expired", func(t testing.TB, file string, _ token.Raw) {
			write(t, file, string(minted(t, token.Claims{ExpiresAt: time.Now().Add(-time.Second)})))
		}},
		{"other mesh", "claim Mesh", func(t testing.TB, file string, _ token.Raw) {
			write(t, file, string(minted(t, token.Claims{Mesh: "other"})))
		}},
		{"other name", "claim Name", func(t testing.TB, file string, _ token.Raw) {
			write(t, file, string(minted(t, token.Claims{Name: "web-2"})))
		}},
		{"gone", "no such file", func(t testing.TB, file string, _ token.Raw) { do(t, os.Remove(file)) }},
		{"beyond reach", "too many levels of symbolic links", func(t testing.TB, file string, _ token.Raw) {
			do(t, os.Remove(file), os.Symlink(file, file))
		}},
		{"directory", "not a regular file", func(t testing.TB, file string, _ token.Raw) { do(t, os.Remove(file), os.Mkdir(file, 0o700)) }},
		{"pipe", "not a regular file", func(t testing.TB, file string, _ token.Raw) { do(t, os.Remove(file), syscall.Mkfifo(file, 0o600)) }},
		{"device", "not a regular file", func(t testing.TB, file string, _ token.Raw) { do(t, os.Remove(file), os.Symlink("/dev/zero", file)) }},
		{"huge", "more than 8192 bytes", func(t testing.TB, file string, _ token.Raw) { do(t, os.Truncate(file, 1<<30)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				good := fresh(t)
				write(t, dir+"/token", string(good))
				f := follow(t, dir, "token", none)
				for round := 1; round <= 2; round++ {
					test.spoil(t, f.file, good)
					time.Sleep(10 * time.Second)
					if held, _ := f.Current(); held.Raw != good {
						t.Error("the good token is no longer used")
					}
					if err := f.Fault(); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
						t.Errorf("fault %v, want one with %q", err, test.want)
					}
					if n := f.warnings("is not used"); n != round || len(f.rejected) != round {
						t.Errorf("%d warnings, %d rejections, want %d", n, len(f.rejected), round)
					}
					do(t, os.RemoveAll(f.file))
					write(t, f.file, string(good))
					time.Sleep(time.Second)
					if err := f.Fault(); err != nil || f.accepted != 0 {
						t.Errorf("with the same text as before: fault %v, accepted %d times", err, f.accepted)
					}
				}
				next := fresh(t)
				write(t, f.file, string(next))
				f.becomes("a good one", next, inBubble)
			})
		})
	}
}

// A system that stops telling of changes is done without, after one word about it.
func TestSourceLosesTheSystemsHelp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		lose func(w *fsnotify.Watcher)
	}{
		{"overflow", func(w *fsnotify.Watcher) { w.Errors <- fsnotify.ErrEventOverflow }},
		{"end", func(w *fsnotify.Watcher) { w.Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir+"/token", string(fresh(t)))
			made := make(chan *fsnotify.Watcher, 1)
			f := follow(t, dir, "token", func() (*fsnotify.Watcher, error) {
				w, err := fsnotify.NewWatcher()
				made <- w
				return w, err
			})
			test.lose(<-made)
			for range 2 {
				next := fresh(t)
				write(t, dir+"/token", string(next))
				f.becomes("without help", next, onMachine)
			}
			if n := f.warnings("does not tell of changes"); n != 1 {
				t.Errorf("%d warnings, want 1", n)
			}
		})
	}
}

// In a directory in which others are busy a change is noticed as soon.
func TestSourceInABusyDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/token", string(fresh(t)))
	f := follow(t, dir, "token", fsnotify.NewWatcher)
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
			if err := os.WriteFile(dir+"/other", nil, 0o600); err != nil {
				t.Error(err)
				return
			}
		}
	})
	next := fresh(t)
	write(t, dir+"/token", string(next))
	f.becomes("beside others", next, onMachine)
	cancel()
	busy.Wait()
}

// Who can read the file besides us is told once.
func TestSourceTellsOfReaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir+"/token", string(fresh(t)))
		do(t, os.Chmod(dir+"/token", 0o640))
		f := follow(t, dir, "token", none)
		time.Sleep(10 * time.Second)
		if n := f.warnings("others on this host can read the token"); n != 1 {
			t.Errorf("told %d times, want once", n)
		}
	})
}

// A token that is given as text stays, and none at all is no error here.
func TestSourceOfText(t *testing.T) {
	t.Parallel()
	raw := fresh(t)
	for _, text := range []token.Raw{raw, ""} {
		s, err := token.NewSource(token.SourceConfig{Text: text, Mesh: "default", Name: "web-1"})
		if err != nil {
			t.Fatal(err)
		}
		do(t, s.Load(), s.Run(t.Context()))
		if held, _ := s.Current(); held.Raw != text || s.Fault() != nil {
			t.Errorf("another token, or %v", s.Fault())
		}
	}
	for _, bad := range []token.SourceConfig{{Text: raw, File: "x"}, {Text: "hunter2"}, {Text: raw, Mesh: "other"}} {
		if _, err := token.NewSource(bad); err == nil || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("error %v", err)
		}
	}
}
