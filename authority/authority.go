// Package authority has the kinds of certificate authorities that sign the identities of a mesh. A mesh names one in each
// of its mtls.backends, by type; another kind is another file here and its line in [KindOf].
package authority

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"koguma/certs"
	"koguma/policy"
)

// Authority signs the identities of a mesh, and says by which roots they are known. It is safe for concurrent use.
//
// One that can sign a revocation list implements [Revoker] as well.
type Authority interface {
	certs.Issuer
	// Roots are the certificates that peers verify the identities with. They stay the same.
	Roots() []*x509.Certificate
}

// Revoker signs the list of certificates that are not accepted any more.
type Revoker interface {
	// RevocationList is the list in PEM: always the same bytes for the same arguments, where the key is of a kind that
	// allows it. The error is [certs.ErrNoCRL] where the CA's certificate does not allow the signing of lists.
	RevocationList(revoked []certs.Revoked, number uint64, at time.Time) ([]byte, error)
}

// Kind is a kind of certificate authorities.
type Kind interface {
	// Check finds what is wrong with the configuration of a backend of this kind, as a [*policy.Invalid] whose fields
	// are those of the backend, such as conf.cert. It looks at nothing else.
	Check(b *policy.Backend) error
	// Make is what has to be in the mesh's secrets before the backend can be opened, by name: for a kind that makes its
	// CA itself a new one, for all others nothing. has says which secrets there are.
	Make(mesh string, b *policy.Backend, has func(name string) bool) (map[string][]byte, error)
	// Open is the authority of a backend. Secrets of the mesh are read through secret, which is nil for one that there is
	// not. Open asks nobody over the network. It refuses what could not sign an identity now, each fault with its reason.
	Open(mesh string, b *policy.Backend, secret func(name string) []byte) (Authority, error)
}

// KindOf is the kind of that type.
func KindOf(typ string) (Kind, error) {
	switch typ {
	case policy.BackendBuiltin:
		return builtin{}, nil
	}
	return nil, fmt.Errorf("there is no kind of CA that is called %q; use %s", typ, policy.BackendBuiltin)
}

var errMissing = errors.New("its certificate and key are not in the secrets of the mesh; restore them from a backup, or use another backend")

// Fingerprint tells authorities apart by their roots: 32 hexadecimal digits.
func Fingerprint(roots []*x509.Certificate) string {
	h := sha256.New()
	for _, c := range roots {
		h.Write(c.Raw)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// decodeConf reads the configuration of a backend into what conf points to. The error is a [*policy.Invalid].
func decodeConf(b *policy.Backend, conf any) error {
	if b.Conf == "" {
		return nil
	}
	err := b.Conf.Decode(conf)
	if syntax, ok := errors.AsType[*policy.SyntaxError](err); ok {
		return invalid("conf."+syntax.Path, "%s", syntax.Reason)
	}
	return err
}

func invalid(field, format string, args ...any) error {
	return &policy.Invalid{Fields: []policy.FieldError{{Field: field, Reason: fmt.Sprintf(format, args...)}}}
}
