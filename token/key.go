package token

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

const keyBits = 2048

// The kinds of PEM blocks.
const (
	keyType       = "RSA PRIVATE KEY" // PKCS#1
	pkcs8Type     = "PRIVATE KEY"
	publicKeyType = "RSA PUBLIC KEY" // PKCS#1
	pkixType      = "PUBLIC KEY"
	pemBegin      = "-----BEGIN "
)

// SigningKey is a key of a mesh and the id ("kid") that tokens name it by. It prints, logs and marshals as its id.
type SigningKey struct {
	KID string
	Key *rsa.PrivateKey
}

// Public is the half that a [Verifier] needs.
func (k SigningKey) Public() *rsa.PublicKey { return &k.Key.PublicKey }

// String implements [fmt.Stringer].
func (k SigningKey) String() string { return fmt.Sprintf("[signing key %q]", k.KID) }

// Format implements [fmt.Formatter]: whatever the verb, the key stays hidden.
func (k SigningKey) Format(s fmt.State, _ rune) { io.WriteString(s, k.String()) }

// LogValue implements [slog.LogValuer].
func (k SigningKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText implements [encoding.TextMarshaler].
func (k SigningKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func (k SigningKey) check() error {
	if !kidForm.MatchString(k.KID) {
		return fmt.Errorf("signing key: its id %q is not 1 to 64 letters, digits, '.', '_' or '-'", k.KID)
	}
	if k.Key == nil {
		return fmt.Errorf("signing key %q: there is no key", k.KID)
	}
	if err := checkSize(&k.Key.PublicKey); err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	return nil
}

// NewKeyPEM makes a signing key, RSA of 2048 bits, as the secret of a mesh holds it: PKCS#1 in PEM.
func NewKeyPEM() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: x509.MarshalPKCS1PrivateKey(key)}), nil
}

// ParseKey reads a signing key of 2048 bits or more: in PEM, PKCS#1 or PKCS#8, or, as very old ones are, PKCS#1 in DER.
func ParseKey(data []byte) (*rsa.PrivateKey, error) {
	key, err := x509.ParsePKCS1PrivateKey(data)
	if bytes.Contains(data, []byte(pemBegin)) {
		key, err = decodeKey(data)
	} else if err != nil {
		err = errors.New("it is not an RSA private key in PEM or DER; make one with kumactl generate signing-key")
	}
	if err == nil {
		err = checkSize(&key.PublicKey)
	}
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	return key, nil
}

func decodeKey(data []byte) (*rsa.PrivateKey, error) {
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, errors.New("broken PEM")
	case len(block.Headers) > 0:
		return nil, errors.New("it is encrypted; decrypt it first, with openssl rsa")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("there is something after the key")
	}
	switch block.Type {
	case keyType:
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
	case pkcs8Type:
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := key.(*rsa.PrivateKey); ok {
				return key, nil
			}
			return nil, errors.New("it is not an RSA key, and tokens are signed with RS256")
		}
	default:
		return nil, fmt.Errorf("it is a %q, not an %q or a %q", block.Type, keyType, pkcs8Type)
	}
	return nil, fmt.Errorf("there is no %q in it, although it says so", block.Type)
}

// EncodePublicKey is the key as [ParsePublicKey] reads it: PKCS#1 in PEM.
func EncodePublicKey(key *rsa.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: publicKeyType, Bytes: x509.MarshalPKCS1PublicKey(key)})
}

// ParsePublicKey reads the public half of a signing key of 2048 bits or more: one PEM block with it in PKCS#1 or PKIX,
// and nothing around it. The error has nothing of the data, which may be the private half by mistake.
func ParsePublicKey(data []byte) (*rsa.PublicKey, error) {
	key, err := decodePublicKey(data)
	if err == nil {
		err = checkSize(key)
	}
	if err == nil && (key.E < 3 || key.E%2 == 0) { // no signature could be verified with it
		err = fmt.Errorf("%d is no RSA exponent", key.E)
	}
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return key, nil
}

func decodePublicKey(data []byte) (*rsa.PublicKey, error) {
	const hint = "make it with kumactl generate public-key --signing-key-path FILE"
	block, rest := pem.Decode(data)
	switch {
	case block == nil || !bytes.HasPrefix(bytes.TrimSpace(data), []byte(pemBegin)):
		return nil, errors.New("it is not PEM, or there is something before it; " + hint)
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, errors.New("it is the private one; " + hint)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("there is something after the key")
	}
	switch block.Type {
	case publicKeyType:
		if key, err := x509.ParsePKCS1PublicKey(block.Bytes); err == nil {
			return key, nil
		}
	case pkixType:
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			if key, ok := key.(*rsa.PublicKey); ok {
				return key, nil
			}
			return nil, errors.New("it is not an RSA key, and tokens are signed with RS256")
		}
	default:
		return nil, fmt.Errorf("it is a %q, not an %q or a %q", block.Type, publicKeyType, pkixType)
	}
	return nil, fmt.Errorf("there is no %q in it, although it says so", block.Type)
}

func checkSize(k *rsa.PublicKey) error {
	if n := k.N.BitLen(); n < keyBits {
		return fmt.Errorf("it has %d bits, and %d are the least", n, keyBits)
	}
	return nil
}
