package token

import "github.com/fsnotify/fsnotify"

// SetNotify replaces how a source asks the system to tell of changes.
func (s *Source) SetNotify(f func() (*fsnotify.Watcher, error)) { s.notify = f }
