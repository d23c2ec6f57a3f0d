package cp

import (
	"context"
	"log/slog"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// watchPoll is how often files are looked at, whether or not the file system says that they have changed.
	watchPoll = 500 * time.Millisecond
	// watchSettle is how long a change is left alone: who writes a file in place does so in several steps.
	watchSettle = 50 * time.Millisecond
)

// watch calls look until the context ends, soon after something in the folders has changed. The folders are watched,
// for a file that is replaced is another one; so that a change at the other end of a symbolic link, or on a file system
// that tells nothing, is seen as well, look is called all the time.
func watch(ctx context.Context, folders []string, log *slog.Logger, look func()) error {
	var events <-chan fsnotify.Event
	var lost <-chan error // events that could not be told
	if w, err := fsnotify.NewWatcher(); err != nil {
		log.Debug("files are polled only", "error", err)
	} else {
		defer w.Close()
		for _, dir := range folders {
			if err := w.Add(dir); err != nil {
				log.Debug("a folder is polled only", "folder", dir, "error", err)
			}
		}
		events, lost = w.Events, w.Errors
	}
	poll := time.NewTicker(watchPoll)
	defer poll.Stop()
	var settled <-chan time.Time
	for {
		select {
		case <-events:
			if settled == nil {
				settled = time.After(watchSettle)
			}
			continue
		case <-lost:
		case <-settled:
			settled = nil
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		look()
	}
}
