package token

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"koguma/mistake"
	"koguma/policy"
)

// Held is a token that a proxy has, and what it says of itself. The zero value stands for none.
type Held struct {
	Raw    Raw
	Claims Claims
}

// SourceConfig says where the token of a proxy comes from, and which proxy that is.
type SourceConfig struct {
	// File has the token, and is watched; Text is the token itself, which never changes. One of them at most is given.
	// Without either there is no token.
	File string
	Text Raw

	Mesh, Name string
	Services   []string // of the proxy, as far as they are known; for the command that makes a token

	// Reloaded is told of each token that took the place of another, with nil, and of each fault of the file, with what
	// it is. It must not block. nil: nobody is told.
	Reloaded func(error)
	Log      *slog.Logger // nil: nothing is logged
}

// Source is the token of a proxy, which may change while the proxy runs. A changed file is noticed within a second,
// however it was changed. What is taken over is a whole token for this proxy that has not expired; for as long as the
// file has anything else, or is not there, the last good one stays. Make one with [NewSource].
type Source struct {
	cfg    SourceConfig
	notify func() (*fsnotify.Watcher, error)

	// Of Load, and then of the goroutine of Run.
	judged, seen reading // what was last decided on, and what was last read
	since        time.Time
	exposed      bool // it was said that others can read the file

	mu      sync.Mutex
	held    Held
	fault   error
	changed chan struct{} // closed when held is another
}

// reading is what was found in the file, or why nothing was.
type reading struct {
	raw   Raw
	fault string
	next  string // the command that mends the fault
}

// The file is read every poll, and soon after the system has told of a change. A change counts when the file has stayed
// as it is for settle: whoever writes in place may be halfway. All three together are less than a second.
const (
	poll   = 500 * time.Millisecond
	soon   = 20 * time.Millisecond
	settle = 250 * time.Millisecond
)

// NewSource checks the configuration and the text, and opens nothing. The error has nothing of the token.
func NewSource(cfg SourceConfig) (*Source, error) {
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	s := &Source{cfg: cfg, notify: fsnotify.NewWatcher, changed: make(chan struct{})}
	switch {
	case cfg.File != "" && cfg.Text != "":
		return nil, errors.New("both a token and a file with one are given; give one of them")
	case len(cfg.Text) > maxToken:
		return nil, fmt.Errorf("the token has more than %d bytes", maxToken)
	case cfg.Text != "":
		held, err := s.check(trim(string(cfg.Text)), time.Now())
		if err != nil {
			return nil, err
		}
		s.held = held
	}
	return s, nil
}

// Load reads the file for the first time, if there is one. It is called before everything below, and its error says what
// is wrong with the file or the token, and what to do.
func (s *Source) Load() error {
	if s.cfg.File == "" {
		return nil
	}
	s.judged = s.read()
	s.seen = s.judged
	held, err := s.accept(s.judged, time.Now())
	if err != nil {
		return err
	}
	s.held = held
	return nil
}

// Current is the token to use, and a channel that is closed when there is another.
func (s *Source) Current() (Held, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held, s.changed
}

// Fault is why what is in the file now is not used; nil if it is.
func (s *Source) Fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// Remedy is how to make a token for this proxy.
func (s *Source) Remedy() string { return "make one with: " + s.Command() }

// Command is the command that makes a token for this proxy, and puts it where the proxy looks for it.
func (s *Source) Command() string {
	words := []string{"kumactl", "generate", "dataplane-token", "--mesh", s.cfg.Mesh, "--name", s.cfg.Name}
	if len(s.cfg.Services) > 0 {
		words = append(words, "--tag", policy.TagService+"="+strings.Join(s.cfg.Services, ","))
	}
	words = append(words, "--valid-for", "720h")
	return mistake.Command(words...) + " > " + mistake.Word(s.path())
}

// path is the file with the token, or one that could have it.
func (s *Source) path() string { return cmp.Or(s.cfg.File, s.cfg.Name+".token") }

// Commands are Command, and the one that uses its token if the proxy does not look for it there yet.
func (s *Source) Commands() []string {
	if s.cfg.File != "" {
		return []string{s.Command()}
	}
	return []string{s.Command(), mistake.Command("kuma-dp", "run", "--dataplane-token-file", s.path()) + " ..."}
}

// Run follows the file until ctx ends; nothing that it started is left then. Without a file it returns at once. The
// error is always nil: a file that cannot be read is a [Source.Fault].
func (s *Source) Run(ctx context.Context) error {
	if s.cfg.File == "" {
		return nil
	}
	w := newWatcher(s.cfg.File, s.notify, s.cfg.Log)
	defer w.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for hurried := false; ; {
		select {
		case <-timer.C:
			hurried = false
			w.follow()
			timer.Reset(s.look(time.Now()))
		case _, ok := <-w.events():
			if !ok {
				w.lose(fsnotify.ErrClosed)
			} else if !hurried { // once: a busy directory must neither keep us busy nor put us off
				hurried = true
				timer.Reset(soon)
			}
		case err, ok := <-w.errors():
			if !ok {
				err = fsnotify.ErrClosed
			}
			w.lose(err)
		case <-ctx.Done():
			return nil
		}
	}
}

// look reads the file, decides on what has settled, and says in how long to look again.
func (s *Source) look(now time.Time) time.Duration {
	r := s.read()
	switch {
	case r == s.judged:
		s.seen = r
		return poll
	case r != s.seen:
		s.seen, s.since = r, now
		return settle
	}
	if rest := settle - now.Sub(s.since); rest > 0 {
		return rest
	}
	s.judged = r
	held, err := s.accept(r, now)
	s.settled(held, err)
	return poll
}

// settled takes a token over, or notes what is wrong with it.
func (s *Source) settled(held Held, err error) {
	s.mu.Lock()
	fresh := err == nil && held.Raw != s.held.Raw
	if fresh {
		s.held = held
		close(s.changed)
		s.changed = make(chan struct{})
	}
	said := err != nil && s.fault != nil && err.Error() == s.fault.Error()
	s.fault = err
	kept := s.held.Claims
	s.mu.Unlock()
	switch {
	case fresh:
		s.cfg.Log.Info("new token", "jti", held.Claims.ID, "expires", stamp(held.Claims.ExpiresAt))
	case err == nil || said:
		return
	default:
		attrs := []any{"file", s.cfg.File, "reason", err, "jti", kept.ID, "expires", stamp(kept.ExpiresAt)}
		s.cfg.Log.Warn("the token in the file is not used; the last good one stays", append(attrs, mistake.Attrs(err)...)...)
	}
	if s.cfg.Reloaded != nil {
		s.cfg.Reloaded(err)
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// read reads the file once.
func (s *Source) read() reading {
	data, info, err := ReadFile(s.cfg.File, maxToken)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return reading{fault: err.Error(), next: s.Command()}
	case errors.Is(err, fs.ErrPermission):
		return reading{fault: err.Error(), next: mistake.Command("sudo", "chown", strconv.Itoa(os.Geteuid()), s.cfg.File)}
	case err != nil:
		return reading{fault: err.Error(), next: mistake.Command("ls", "-lL", s.cfg.File)}
	case len(data) == 0:
		return reading{fault: s.cfg.File + " is empty", next: s.Command()}
	}
	if info.Mode().Perm()&0o077 != 0 && !s.exposed {
		s.exposed = true
		s.cfg.Log.Warn("others on this host can read the token; chmod 600 it", "file", s.cfg.File)
	}
	return reading{raw: trim(string(data))}
}

// trim takes off the line break at the end of a file.
func trim(text string) Raw {
	return Raw(strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"))
}

func (s *Source) accept(r reading, now time.Time) (Held, error) {
	if r.fault != "" {
		return Held{}, mistake.New(mistake.TokenMissing, errors.New("--dataplane-token-file: "+r.fault), r.next)
	}
	return s.check(r.raw, now)
}

// check finds out what a glance at the token can tell, so that nobody waits for the control plane to say it.
func (s *Source) check(raw Raw, now time.Time) (Held, error) {
	refuse := func(code mistake.Code, format string, args ...any) (Held, error) {
		return Held{}, mistake.New(code, fmt.Errorf(format, args...), s.Commands()...)
	}
	switch {
	case strings.HasPrefix(string(raw), "-----BEGIN"):
		return refuse(mistake.TokenMalformed, "the token is none: this is PEM, a key or a certificate")
	case strings.ContainsAny(string(raw), "\r\n"):
		return refuse(mistake.TokenMalformed, "the token has a line break in it; it is one line")
	}
	c, err := Inspect(raw)
	if err != nil {
		return refuse(mistake.TokenMalformed, "the token cannot be read: %w", err)
	}
	switch {
	case cut(raw):
		return refuse(mistake.TokenMalformed, "the end of the token is missing")
	case !now.Before(c.ExpiresAt):
		return refuse(mistake.TokenExpired, "the token expired at %s (claim exp), and it is %s here", stamp(c.ExpiresAt), stamp(now))
	case c.Mesh != "" && c.Mesh != s.cfg.Mesh:
		return refuse(mistake.TokenMesh, "the token is for mesh %q (claim Mesh), not for %q", c.Mesh, s.cfg.Mesh)
	case c.Name != "" && c.Name != s.cfg.Name:
		return refuse(mistake.TokenName, "the token is for proxy %q (claim Name), not for %q", c.Name, s.cfg.Name)
	}
	return Held{Raw: raw, Claims: c}, nil
}

// cut reports whether the signature is shorter than that of any key that is accepted: what is left of a token that was
// cut off there still looks like one.
func cut(raw Raw) bool {
	s, refusal := split(raw)
	return refusal != nil || len(s.signature) < keyBits/8
}
