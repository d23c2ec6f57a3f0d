package token_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"koguma/token"
)

// followed is a Source that runs, and all that it did.
type followed struct {
	*token.Source
	t    testing.TB
	dir  string
	file string
	stop func()

	mu       sync.Mutex
	log      strings.Builder
	held     []token.Raw // each that was current
	rejected []error
	accepted int
}

func (f *followed) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(b)
}

// fresh is a token for the proxy web-1 that is good for an hour from now.
func fresh(t testing.TB) token.Raw { return minted(t, token.Claims{}) }

func minted(t testing.TB, c token.Claims) token.Raw {
	t.Helper()
	if c.Mesh == "" {
		c.Mesh = "default"
	}
	if c.ExpiresAt.IsZero() {
		c.ExpiresAt = time.Now().Add(time.Hour)
	}
	c.IssuedAt, c.NotBefore = time.Now().Add(-2*time.Hour), time.Now().Add(-2*time.Hour)
	raw, err := token.Sign(signingKey(), c)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// follow runs a source of a file in dir, which has a token from the beginning. notify is how the system tells of changes.
func follow(t testing.TB, dir, file string, notify func() (*fsnotify.Watcher, error)) *followed {
	t.Helper()
	f := &followed{t: t, dir: dir, file: filepath.Join(dir, file)}
	var err error
	f.Source, err = token.NewSource(token.SourceConfig{
		File: f.file, Mesh: "default", Name: "web-1", Log: slog.New(slog.NewTextHandler(f, nil)),
		Reloaded: func(err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if err != nil {
				f.rejected = append(f.rejected, err)
			} else {
				f.accepted++
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.SetNotify(notify)
	if err := f.Load(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() {
		for {
			held, changed := f.Current()
			f.mu.Lock()
			f.held = append(f.held, held.Raw)
			f.mu.Unlock()
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	})
	f.stop = func() { cancel(); running.Wait() }
	t.Cleanup(func() {
		f.stop()
		if strings.Contains(f.log.String(), "eyJ") {
			t.Error("there is a token in the log")
		}
		if t.Failed() {
			t.Logf("log:\n%s", f.log.String())
		}
	})
	return f
}

// How long a change may take: in a bubble what is promised, elsewhere what a busy machine needs at the very most.
const (
	inBubble  = time.Second
	onMachine = 10 * time.Second
)

// becomes waits for a token to be the current one, for so long at most.
func (f *followed) becomes(what string, want token.Raw, within time.Duration) {
	f.t.Helper()
	late := time.After(within)
	for {
		held, changed := f.Current()
		if held.Raw == want {
			return
		}
		select {
		case <-changed:
		case <-late:
			f.t.Fatalf("%s: not noticed within %v", what, within)
		}
	}
}

// warnings is how many lines of the log are warnings with that in them.
func (f *followed) warnings(text string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for line := range strings.Lines(f.log.String()) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// do fails the test if something could not be done.
func do(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path string, content string) {
	t.Helper()
	do(t, os.WriteFile(path, []byte(content), 0o600))
}

// none is a system that tells of nothing.
func none() (*fsnotify.Watcher, error) { return nil, syscall.ENOSPC }

// A way is how a file gets another token.
type way struct {
	name, file string
	prepare    func(t testing.TB, dir string, first token.Raw)
	change     func(t testing.TB, dir string, next token.Raw)
}

func ways() []way {
	plain := func(t testing.TB, dir string, first token.Raw) { write(t, dir+"/token", string(first)) }
	version := func(t testing.TB, dir, name string, raw token.Raw) {
		do(t, os.Mkdir(dir+"/"+name, 0o700))
		write(t, dir+"/"+name+"/token", string(raw)+"\n")
	}
	swap := func(t testing.TB, dir, link, to string) {
		do(t, os.Symlink(to, dir+"/next"), os.Rename(dir+"/next", dir+"/"+link))
	}
	return []way{
		{"in place", "token", plain, func(t testing.TB, dir string, next token.Raw) { write(t, dir+"/token", string(next)) }},
		{"by rename", "token", plain, func(t testing.TB, dir string, next token.Raw) {
			write(t, dir+"/new", string(next)+"\r\n")
			do(t, os.Rename(dir+"/new", dir+"/token"))
		}},
		{"by a link beside it", "token", func(t testing.TB, dir string, first token.Raw) {
			version(t, dir, "..1", first)
			do(t, os.Symlink("..1", dir+"/..data"), os.Symlink("..data/token", dir+"/token"))
		}, func(t testing.TB, dir string, next token.Raw) {
			version(t, dir, "..2", next)
			swap(t, dir, "..data", "..2")
			do(t, os.RemoveAll(dir+"/..1"))
		}},
		{"by a link above it", "current/token", func(t testing.TB, dir string, first token.Raw) {
			version(t, dir, "1", first)
			swap(t, dir, "current", "1")
		}, func(t testing.TB, dir string, next token.Raw) {
			version(t, dir, "2", next)
			swap(t, dir, "current", "2")
		}},
		{"with its directory", "sub/token", func(t testing.TB, dir string, first token.Raw) {
			version(t, dir, "sub", first)
		}, func(t testing.TB, dir string, next token.Raw) {
			do(t, os.RemoveAll(dir+"/sub"))
			version(t, dir, "sub", next)
		}},
		{"in two halves", "token", plain, func(t testing.TB, dir string, next token.Raw) {
			half := len(next) / 2
			write(t, dir+"/token", string(next[:half]))
			time.Sleep(100 * time.Millisecond)
			f, err := os.OpenFile(dir+"/token", os.O_WRONLY|os.O_APPEND, 0)
			do(t, err)
			_, err = f.WriteString(string(next[half:]))
			do(t, err, f.Close())
		}},
	}
}

// However the file is changed, it is noticed within a second: by what the system tells, and by looking alone.
func TestSourceNotices(t *testing.T) {
	t.Parallel()
	for _, w := range ways() {
		test := func(t *testing.T, notify func() (*fsnotify.Watcher, error), within time.Duration) {
			dir := t.TempDir()
			first := fresh(t)
			w.prepare(t, dir, first)
			f := follow(t, dir, w.file, notify)
			for range 2 { // the watch goes along
				next := fresh(t)
				if w.name == "by a link beside it" || w.name == "by a link above it" {
					do(t, os.RemoveAll(dir+"/..2"), os.RemoveAll(dir+"/2"))
				}
				w.change(t, dir, next)
				f.becomes(w.name, next, within)
			}
			f.stop()
			if f.accepted != 2 {
				t.Errorf("accepted %d times, want 2", f.accepted)
			}
		}
		t.Run("told/"+w.name, func(t *testing.T) { t.Parallel(); test(t, fsnotify.NewWatcher, onMachine) })
		t.Run("looking/"+w.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { test(t, none, inBubble) })
		})
	}
}

// Wherever a writer pauses within a token, what is there so far is not used, nor worth a word.
func TestSourceNeverUsesHalfAToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		whole := []token.Raw{fresh(t)}
		write(t, dir+"/token", string(whole[0]))
		f := follow(t, dir, "token", none)
		for i := range 20 {
			next := fresh(t)
			whole = append(whole, next)
			time.Sleep(time.Duration(i) * 37 * time.Millisecond) // whenever the source looks
			write(t, dir+"/token", "")
			time.Sleep(50 * time.Millisecond)
			write(t, dir+"/token", string(next[:len(next)*i/20]))
			time.Sleep(100 * time.Millisecond)
			write(t, dir+"/token", string(next)+"\n")
			f.becomes("the whole", next, inBubble)
		}
		f.stop()
		if !slices.Equal(f.held, whole) {
			t.Errorf("%d tokens were used, want the %d whole ones", len(f.held), len(whole))
		}
		if len(f.rejected) > 0 {
			t.Errorf("warned of what was half written: %v", f.rejected)
		}
	})
}
