// Package authority has the kinds of certificate authorities that sign the identities of a mesh. A mesh names one in each
// of its mtls.backends, by type:
//
//   - builtin: the control plane makes the CA;
//   - provided: the operator gives certificate and key;
//   - step: a step-ca is asked over the network.
//
// Another kind is another file here and its line in [KindOf]. It has the three methods of [Kind], and its authorities the two
// of [Authority]; all else is there for whoever needs it ([Keeper], [Revoker], [Reloader], [Remote]).
package authority

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"koguma/certs"
	"koguma/policy"
)

// Authority signs the identities of a mesh, and says by which roots they are known. It is safe for concurrent use.
//
// One that can sign a revocation list implements [Revoker] as well, one that may come from files [Reloader], and one that is
// elsewhere [Remote]. Authorities are compared with ==: each that was opened is another one.
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

// Reloader is an authority that may have been read from files.
type Reloader interface {
	// Stale reports whether one of the files has another content now. Then the backend is to be opened anew; where that fails,
	// because only one of two files is there yet, this authority goes on. A file that cannot be read has not changed.
	Stale() bool
}

// Remote is an authority that is asked over the network. It needs a [certs.Request] with a CSR; asking may take long, or fail.
type Remote interface {
	// Remote says where it is, for people to read.
	Remote() string
}

// Keeper is a [Kind] whose backends are given a private key.
type Keeper interface {
	// Seal takes the key out of the configuration, if it is in there: it returns what the mesh's secrets must have then, by
	// name, and b refers to it. b must have passed Check.
	Seal(mesh string, b *policy.Backend) (map[string][]byte, error)
	// KeySecret is the name of the secret that has the key, "" if none does.
	KeySecret(b *policy.Backend) string
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
	case policy.BackendProvided:
		return provided{}, nil
	case typeStep:
		return step{}, nil
	}
	return nil, fmt.Errorf("there is no kind of CA that is called %q; use %s, %s or %s",
		typ, policy.BackendBuiltin, policy.BackendProvided, typeStep)
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
		return invalid(strings.TrimSuffix("conf."+syntax.Path, "."), "%s", syntax.Reason)
	}
	return err
}

func invalid(field, format string, args ...any) error {
	return &policy.Invalid{Fields: []policy.FieldError{{Field: field, Reason: fmt.Sprintf(format, args...)}}}
}
