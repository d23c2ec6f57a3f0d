package cp

import (
	"context"
	"crypto/rsa"
	"maps"
	"strconv"
	"sync"
	"time"

	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// keyring holds the keys that tokens are verified with, so that a stranger's token costs no look into the store. It is
// kept up to date by the reconciler, and is safe for concurrent use.
type keyring struct {
	mu   sync.RWMutex
	keys map[string]map[string]*rsa.PublicKey // by mesh and key id
}

func newKeyring() *keyring { return &keyring{keys: map[string]map[string]*rsa.PublicKey{}} }

// Key implements [token.Keys].
func (k *keyring) Key(mesh, kid string) (*rsa.PublicKey, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if key := k.keys[mesh][kid]; key != nil {
		return key, nil
	}
	return nil, token.ErrNoKey
}

// apply takes a change of a secret in. A key that cannot be read verifies nothing.
func (k *keyring) apply(e store.Event) error {
	serial, ok := signingKeySerial(e.Key)
	if !ok {
		return nil
	}
	var public *rsa.PublicKey
	var err error
	if s, ok := e.Resource.(*policy.Secret); ok {
		var key *rsa.PrivateKey
		if key, err = token.ParseKey(s.Data); err == nil {
			public = &key.PublicKey
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	of := maps.Clone(k.keys[e.Key.Mesh])
	if of == nil {
		of = map[string]*rsa.PublicKey{}
	}
	of[strconv.Itoa(serial)] = public
	if public == nil {
		delete(of, strconv.Itoa(serial))
	}
	k.keys[e.Key.Mesh] = of
	return err
}

// tokens issues tokens: signed with the newest key of their mesh, and with the pin of this control plane's CA.
type tokens struct {
	resources resources
	pin       string
}

// Issue implements issuer.
func (t tokens) Issue(ctx context.Context, c token.Claims) (token.Raw, error) {
	keys, err := t.resources.signingKeys(ctx, c.Mesh)
	if err != nil {
		return "", err
	}
	if len(keys) == 0 {
		return "", ErrNoSigningKey
	}
	newest := keys[len(keys)-1]
	key, err := token.ParseKey(newest.secret.Data)
	if err != nil {
		return "", err
	}
	now := time.Now()
	c.IssuedAt, c.NotBefore = now.Add(-tokenBackdate), now.Add(-tokenBackdate)
	c.Pin = t.pin
	return token.Sign(token.SigningKey{KID: strconv.Itoa(newest.serial), Key: key}, c)
}

// tokenBackdate is how long before its issue a token is already valid, for clocks that lag.
const tokenBackdate = 5 * time.Second
