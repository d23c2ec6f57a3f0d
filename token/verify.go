package token

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// leeway is how far the clock of whoever made a token may be ahead of ours. How long a token lives is not stretched.
const leeway = time.Minute

// ErrNoKey is the error of [Keys] for a key that the mesh does not have.
var ErrNoKey = errors.New("no such signing key")

// Keys finds the keys that tokens are verified with. It answers from memory: whoever asks is not known yet. An error
// other than [ErrNoKey] says that it cannot tell now.
type Keys interface {
	Key(mesh, kid string) (*rsa.PublicKey, error)
}

// Verifier tells genuine tokens from others. It is safe for concurrent use if its fields are.
type Verifier struct {
	Keys    Keys
	Revoked func(mesh, id string) bool // nil: none is
}

// Verify is what the token says, if it was signed with a key of the mesh, is for the mesh, is valid at now and not
// revoked. The error is a [Refusal], or what [Keys] said when it could not tell; then the caller may try again.
//
// Nothing inside the token is believed, and none of its claims decoded, before its signature is checked. What it
// allows is for [Claims.Admit] to judge.
func (v Verifier) Verify(raw Raw, mesh string, now time.Time) (Claims, error) {
	s, refusal := split(raw)
	if refusal != nil {
		return Claims{}, refusal
	}
	kid, refusal := s.readHeader()
	if refusal != nil {
		return Claims{}, refusal
	}
	key, err := v.Keys.Key(mesh, kid)
	if errors.Is(err, ErrNoKey) {
		return Claims{}, refuse(ReasonKey, anew(mesh), "mesh %q has no signing key %q", mesh, kid)
	}
	if err != nil {
		return Claims{}, err
	}
	if err := jwt.SigningMethodRS256.Verify(s.signed, s.signature, key); err != nil {
		return Claims{}, refuse(ReasonSignature, anew(mesh), "its signature is not by key %q of mesh %q", kid, mesh)
	}
	p, err := s.readClaims()
	if err != nil {
		return Claims{}, refuse(ReasonMalformed, anew(mesh), "%v", err)
	}
	c, err := p.claims(raw)
	if err != nil {
		return Claims{}, refuse(ReasonMalformed, anew(mesh), "%v", err)
	}
	c.KeyID, c.KeySum = kid, sum(key)
	if refusal := v.judge(c, mesh, now); refusal != nil {
		return Claims{}, refusal
	}
	return c, nil
}

func sum(key *rsa.PublicKey) string {
	s := sha256.Sum256(x509.MarshalPKCS1PublicKey(key))
	return hex.EncodeToString(s[:])
}

// Judge says whether claims that were verified earlier would still be let in: their key is still there and the same, and
// they are neither expired nor revoked. The error is as that of Verify.
func (v Verifier) Judge(c Claims, now time.Time) error {
	key, err := v.Keys.Key(c.Mesh, c.KeyID)
	switch {
	case errors.Is(err, ErrNoKey):
		return genuine(c, refuse(ReasonKey, anew(c.Mesh), "mesh %q no longer has signing key %q", c.Mesh, c.KeyID))
	case err != nil:
		return err
	case sum(key) != c.KeySum:
		return genuine(c, refuse(ReasonKey, anew(c.Mesh), "signing key %q of mesh %q is another one now", c.KeyID, c.Mesh))
	}
	if refusal := v.judge(c, c.Mesh, now); refusal != nil {
		return refusal
	}
	return nil
}

// judge decides about the claims of a token whose signature was good.
func (v Verifier) judge(c Claims, mesh string, now time.Time) *Refusal {
	if r := v.check(c, mesh, now); r != nil {
		return genuine(c, r)
	}
	return nil
}

func (v Verifier) check(c Claims, mesh string, now time.Time) *Refusal {
	const clocks = "compare the clocks of the control plane and of whoever made the token"
	latest := now.Add(leeway)
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case !now.Before(c.ExpiresAt):
		return refuse(ReasonExpired, anew(mesh), "it expired at %s, and it is %s now", at(c.ExpiresAt), at(now))
	case c.NotBefore.After(latest):
		return refuse(ReasonNotYetValid, clocks, "it is not valid before %s, and it is %s here", at(c.NotBefore), at(now))
	case c.IssuedAt.After(latest):
		return refuse(ReasonNotYetValid, clocks, "it was issued at %s, and it is %s here", at(c.IssuedAt), at(now))
	case c.Mesh == "":
		return refuse(ReasonMesh, anew(mesh), "it is for no mesh")
	case c.Mesh != mesh:
		return refuse(ReasonMesh, anew(mesh), "it is for mesh %q, not %q", c.Mesh, mesh)
	case !validType(c.Type):
		return refuse(ReasonType, anew(mesh), "it is of type %q, which does not exist", c.Type)
	case v.Revoked != nil && v.Revoked(mesh, c.ID):
		return refuse(ReasonRevoked, anew(mesh), "it is revoked (id %q)", c.ID)
	}
	return nil
}
