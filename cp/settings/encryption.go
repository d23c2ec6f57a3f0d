package settings

import (
	"context"
	"errors"
	"fmt"

	"koguma/mistake"
	"koguma/store"
)

// EncryptionConfig is for secrets at rest.
type EncryptionConfig struct {
	// KeyFile has the keys that secrets are sealed with in the store, one a line; "" leaves them in clear.
	KeyFile string `json:"keyFile" env:"KUMA_STORE_ENCRYPTION_KEY_FILE"`
}

// errNotKept says that a store outlives no process.
var errNotKept = errors.New("store.type: it is memory, which only a running kuma-cp has; set KUMA_STORE_TYPE to file or postgres")

// EncryptionKeys are the keys that seal secrets in the store, nil if there are none.
func (c *Config) EncryptionKeys() (*store.Keys, error) {
	if c.Store.Encryption.KeyFile == "" {
		return nil, nil
	}
	keys, err := store.ReadKeys(c.Store.Encryption.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("store.encryption.keyFile: %w", err)
	}
	return keys, nil
}

// openStore opens the store that the configuration names.
func (c *Config) openStore(ctx context.Context, keys *store.Keys) (store.Store, error) {
	switch c.Store.Type {
	case StoreMemory:
		return store.NewMemory(), nil
	case StorePostgres:
		p := c.postgres()
		p.Keys = keys
		return store.OpenPostgres(ctx, p)
	}
	return store.OpenSealedFile(c.Store.File.Path, keys)
}

// OpenSealedStore opens it with the keys that the configuration names, and says what is not sealed with the first of them.
func (c *Config) OpenSealedStore(ctx context.Context) (store.Store, error) {
	keys, err := c.EncryptionKeys()
	if err != nil {
		return nil, err
	}
	s, err := c.openStore(ctx, keys)
	if err == nil && keys.Stale() > 0 {
		c.Logger().Warn("there are secrets in the store that are in clear, or sealed with an older key: run kuma-cp rekey", "secrets", keys.Stale())
	}
	return s, err
}

// OpenOffline opens the store for something else than a control plane.
func (c *Config) OpenOffline(ctx context.Context) (*store.Keys, store.Store, error) {
	if c.Store.Type == StoreMemory {
		return nil, nil, errNotKept
	}
	keys, err := c.EncryptionKeys()
	if err != nil {
		return nil, nil, err
	}
	s, err := c.openStore(ctx, keys)
	return keys, s, c.busy(err)
}

// busy says what to do where a running kuma-cp has the store.
func (c *Config) busy(err error) error {
	if errors.Is(err, store.ErrInUse) {
		err = fmt.Errorf("store %s is %w: stop kuma-cp, and start it again afterwards", c.Store.File.Path, store.ErrInUse)
		return mistake.New(mistake.StoreInUse, err, mistake.WhoHas(c.Store.File.Path))
	}
	return err
}

// StoreName is what messages call the store.
func (c *Config) StoreName() string {
	if p := c.Store.Postgres; c.Store.Type == StorePostgres {
		return fmt.Sprintf("postgres %s (database %s)", p.Host, p.DBName)
	}
	return c.Store.File.Path
}

// Rekey seals all secrets in the store with the first key of the key file, and returns how many were not.
func Rekey(ctx context.Context, cfg Config) (n int, err error) {
	keys, err := cfg.EncryptionKeys()
	switch {
	case err != nil:
		return 0, err
	case cfg.Store.Type == StoreMemory:
		return 0, errNotKept
	case keys == nil:
		return 0, errors.New("store.encryption.keyFile: not set; make a key file (openssl rand -base64 32 >FILE; chmod 600 FILE) " +
			"and set KUMA_STORE_ENCRYPTION_KEY_FILE")
	case cfg.Store.Type == StorePostgres:
		p := cfg.postgres()
		p.Keys = keys
		return store.RekeyPostgres(ctx, p)
	}
	n, err = store.RekeyFile(cfg.Store.File.Path, keys)
	return n, cfg.busy(err)
}
