package token

import (
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/fsnotify/fsnotify"
)

// watcher has the system tell of changes in the directory of a file. It is there for speed alone: whoever has one looks
// by himself as well, and one that was lost tells of nothing.
type watcher struct {
	file   string
	log    *slog.Logger
	notify *fsnotify.Watcher // nil once it was lost
	dir    string            // that is watched, without symbolic links
}

func newWatcher(file string, notify func() (*fsnotify.Watcher, error), log *slog.Logger) *watcher {
	w := &watcher{file: file, log: log}
	var err error
	if w.notify, err = notify(); err != nil {
		w.notify = nil
		w.lose(err)
	}
	return w
}

// events tells that something in the directory may have changed.
func (w *watcher) events() <-chan fsnotify.Event {
	if w.notify == nil {
		return nil
	}
	return w.notify.Events
}

func (w *watcher) errors() <-chan error {
	if w.notify == nil {
		return nil
	}
	return w.notify.Errors
}

// follow watches the directory in which the file is now: one above it may be a symbolic link that was swapped, or may
// have been made anew.
func (w *watcher) follow() {
	if w.notify == nil {
		return
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(w.file))
	if err != nil || dir == w.dir && slices.Contains(w.notify.WatchList(), dir) {
		return // gone, perhaps for a moment, or watched already
	}
	if w.dir != "" {
		_ = w.notify.Remove(w.dir) // which may have ended by itself
	}
	w.dir = dir
	if err := w.notify.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.lose(err)
	}
}

// lose does without the system's help from now on.
func (w *watcher) lose(err error) {
	w.log.Warn("the system does not tell of changes of the token file; it is looked at twice a second", "file", w.file, "reason", err)
	w.close()
	w.notify = nil
}

func (w *watcher) close() {
	if w.notify != nil {
		_ = w.notify.Close()
	}
}
