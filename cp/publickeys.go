package cp

import (
	"bytes"
	"context"
	"crypto/rsa"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"koguma/token"
)

const (
	// publicKeyPoll is how often key files are looked at, whether or not the file system says that they have changed.
	publicKeyPoll = 500 * time.Millisecond
	// publicKeySettle is how long a change is left alone: who writes a file in place does so in several steps.
	publicKeySettle = 50 * time.Millisecond
	// maxPublicKey is as long as a key file may be, in bytes.
	maxPublicKey = 64 << 10
)

// publicKeys are the keys of the configuration, and the files that some of them are read from. It belongs to one
// goroutine at a time: that of load, then that of run.
type publicKeys struct {
	keys    *keyring
	changed func(mesh string) // the keys of a mesh, "" for any, are others now
	metrics *metrics
	log     *slog.Logger
	files   []*publicKeyFile
}

// publicKeyFile is a key that a file holds.
type publicKeyFile struct {
	conf  PublicKeyConf
	field string // its key in the configuration
	data  []byte // as it was read last
	fault string // why it could not be read last; "" where it could
}

// load reads all keys. The first that cannot be read is the error.
func (p *publicKeys) load(confs []PublicKeyConf) error {
	for i, c := range confs {
		data, field := []byte(c.Key), fmt.Sprintf("%s[%d].key", keyPublicKeys, i)
		if c.KeyFile != "" {
			field += "File"
			var err error
			if data, _, err = token.ReadFile(c.KeyFile, maxPublicKey); err != nil {
				return fmt.Errorf("%s: %w", field, err)
			}
			p.files = append(p.files, &publicKeyFile{conf: c, field: field, data: data})
		}
		key, err := token.ParsePublicKey(data)
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		p.keys.setStatic(c.Mesh, c.KID, key)
	}
	return nil
}

// run takes up what changes in the files until the context ends. The folders are watched, for a file that is replaced is
// another one; so that a change at the other end of a symbolic link, or on a file system that tells nothing, is seen as
// well, the files are looked at all the time.
func (p *publicKeys) run(ctx context.Context) error {
	if len(p.files) == 0 {
		return nil
	}
	var events <-chan fsnotify.Event
	var lost <-chan error // events that could not be told
	if w, err := fsnotify.NewWatcher(); err != nil {
		p.log.Debug("key files are polled only", "error", err)
	} else {
		defer w.Close()
		for _, f := range p.files {
			if err := w.Add(filepath.Dir(f.conf.KeyFile)); err != nil {
				p.log.Debug("a key file is polled only", "setting", f.field, "error", err)
			}
		}
		events, lost = w.Events, w.Errors
	}
	poll := time.NewTicker(publicKeyPoll)
	defer poll.Stop()
	var settled <-chan time.Time
	for {
		select {
		case <-events:
			if settled == nil {
				settled = time.After(publicKeySettle)
			}
			continue
		case <-lost:
		case <-settled:
			settled = nil
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, f := range p.files {
			p.look(f)
		}
	}
}

// look takes up the key in a file if it is another one. One that cannot be read leaves the last good one in place.
func (p *publicKeys) look(f *publicKeyFile) {
	data, _, err := token.ReadFile(f.conf.KeyFile, maxPublicKey)
	if err == nil && f.fault == "" && bytes.Equal(data, f.data) {
		return
	}
	var key *rsa.PublicKey
	if err == nil {
		key, err = token.ParsePublicKey(data)
	}
	if err != nil {
		if err.Error() != f.fault {
			f.fault = err.Error()
			p.metrics.reloads.WithLabelValues("failed").Inc()
			p.log.Error("a public key cannot be read; the last good one goes on", "setting", f.field, "kid", f.conf.KID, "mesh", f.conf.Mesh, "error", err)
		}
		return
	}
	f.data, f.fault = data, ""
	p.metrics.reloads.WithLabelValues("ok").Inc()
	p.log.Info("a public key was read again", "setting", f.field, "kid", f.conf.KID, "mesh", f.conf.Mesh)
	if p.keys.setStatic(f.conf.Mesh, f.conf.KID, key) {
		p.changed(f.conf.Mesh)
	}
}
