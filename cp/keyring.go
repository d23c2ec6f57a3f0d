package cp

import (
	"cmp"
	"context"
	"crypto/rsa"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"koguma/cp/api"
	"koguma/cp/registry"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// keyring holds what tokens are verified with, the keys and the lists of revoked ones, so that a stranger's token costs
// no look into the store. It is kept up to date by the reconciler, and is safe for concurrent use.
//
// The keys of the configuration go over those of the store.
type keyring struct {
	useSecrets bool // the keys in the store are used as well
	open       bool // nobody needs a token

	mu      sync.RWMutex
	static  map[string]map[string]*rsa.PublicKey // by mesh, "" for any, and key id
	keys    map[string]map[string]*rsa.PublicKey // by mesh and key id
	revoked map[string]map[string]bool           // by mesh and token id
}

func newKeyring(useSecrets bool) *keyring {
	return &keyring{
		useSecrets: useSecrets,
		static:     map[string]map[string]*rsa.PublicKey{},
		keys:       map[string]map[string]*rsa.PublicKey{},
		revoked:    map[string]map[string]bool{},
	}
}

// verifier verifies tokens by what is in the keyring at that moment.
func (k *keyring) verifier() token.Verifier { return token.Verifier{Keys: k, Revoked: k.isRevoked} }

// judge says whether who was let in with these claims would be now.
func (k *keyring) judge(c token.Claims, now time.Time) error {
	if k.open {
		return nil
	}
	return k.verifier().Judge(c, now)
}

// Key implements [token.Keys].
func (k *keyring) Key(mesh, kid string) (*rsa.PublicKey, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key := cmp.Or(k.static[mesh][kid], k.static[""][kid])
	if key == nil && k.useSecrets {
		key = k.keys[mesh][kid]
	}
	if key == nil {
		return nil, token.ErrNoKey
	}
	return key, nil
}

// setStatic puts a key of the configuration in, for one mesh or for any (""), and reports whether it took another's place.
func (k *keyring) setStatic(mesh, kid string, key *rsa.PublicKey) (changed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.static[mesh] == nil {
		k.static[mesh] = map[string]*rsa.PublicKey{}
	}
	old := k.static[mesh][kid]
	k.static[mesh][kid] = key
	return old != nil && !old.Equal(key)
}

func (k *keyring) isRevoked(mesh, id string) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.revoked[mesh][id]
}

// apply takes a change of a secret in, and reports whether it concerns tokens. A key that cannot be read verifies
// nothing.
func (k *keyring) apply(e store.Event) (bool, error) {
	s, _ := e.Resource.(*policy.Secret)
	if e.Key.Name == policy.RevocationsName(e.Key.Mesh) {
		k.revoke(e.Key.Mesh, s)
		return true, nil
	}
	serial, ok := registry.SigningKeySerial(e.Key)
	if !ok {
		return false, nil
	}
	var public *rsa.PublicKey
	var err error
	if s != nil {
		var key *rsa.PrivateKey
		if key, err = token.ParseKey(s.Data); err == nil {
			public = &key.PublicKey
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	of := k.keys[e.Key.Mesh]
	if of == nil {
		of = map[string]*rsa.PublicKey{}
		k.keys[e.Key.Mesh] = of
	}
	of[strconv.Itoa(serial)] = public
	return true, err
}

// revoke makes the list of a mesh what the secret says, or empty without one.
func (k *keyring) revoke(mesh string, s *policy.Secret) {
	ids := map[string]bool{}
	if s != nil {
		for id := range registry.RevokedIDs(s.Data) {
			ids[id] = true
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.revoked[mesh] = ids
}

// tokens issues tokens: signed with the newest key of their mesh, and with the pin of this control plane's CA.
type tokens struct {
	resources registry.Registry
	pin       string
	issued    prometheus.Counter
}

// Issue implements [api.Issuer].
func (t tokens) Issue(ctx context.Context, c token.Claims) (raw token.Raw, kid string, err error) {
	keys, err := t.resources.SigningKeys(ctx, c.Mesh)
	if err != nil {
		return "", "", err
	}
	if len(keys) == 0 {
		return "", "", fmt.Errorf("mesh %q: %w; make one with kumactl rotate signing-key --mesh %s", c.Mesh, api.ErrNoSigningKey, c.Mesh)
	}
	newest := keys[len(keys)-1]
	key, err := token.ParseKey(newest.Secret.Data)
	if err != nil {
		return "", "", err
	}
	now := time.Now()
	c.IssuedAt, c.NotBefore = now.Add(-tokenBackdate), now.Add(-tokenBackdate)
	c.Pin = t.pin
	kid = strconv.Itoa(newest.Serial)
	raw, err = token.Sign(token.SigningKey{KID: kid, Key: key}, c)
	if err == nil {
		t.issued.Inc()
	}
	return raw, kid, err
}

// tokenBackdate is how long before its issue a token is already valid, for clocks that lag.
const tokenBackdate = 5 * time.Second
