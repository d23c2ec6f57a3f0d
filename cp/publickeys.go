package cp

import (
	"bytes"
	"context"
	"crypto/rsa"
	"fmt"
	"log/slog"
	"path/filepath"

	"koguma/cp/settings"
	"koguma/token"
)

// maxPublicKey is as long as a key file may be, in bytes.
const maxPublicKey = 64 << 10

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
	conf  settings.PublicKeyConf
	field string // its key in the configuration
	data  []byte // as it was read last
	fault string // why it could not be read last; "" where it could
}

// load reads all keys. The first that cannot be read is the error.
func (p *publicKeys) load(confs []settings.PublicKeyConf) error {
	for i, c := range confs {
		data, field := []byte(c.Key), fmt.Sprintf("%s[%d].key", settings.KeyPublicKeys, i)
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

// run takes up what changes in the files until the context ends.
func (p *publicKeys) run(ctx context.Context) error {
	if len(p.files) == 0 {
		return nil
	}
	var folders []string
	for _, f := range p.files {
		folders = append(folders, filepath.Dir(f.conf.KeyFile))
	}
	return watch(ctx, folders, p.log, func() {
		for _, f := range p.files {
			p.look(f)
		}
	})
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
