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
)

const (
	keyBits = 2048
	keyType = "RSA PRIVATE KEY"
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
	return checkSize(&k.Key.PublicKey)
}

// NewKeyPEM makes a signing key, RSA of 2048 bits, as the secret of a mesh holds it: PKCS#1 in PEM.
func NewKeyPEM() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: x509.MarshalPKCS1PrivateKey(key)}), nil
}

// ParseKey reads a signing key of 2048 bits or more: PKCS#1, in PEM or, as very old ones are, in DER.
func ParseKey(data []byte) (*rsa.PrivateKey, error) {
	der := data
	if bytes.Contains(data, []byte("-----BEGIN ")) {
		block, rest := pem.Decode(data)
		switch {
		case block == nil:
			return nil, errors.New("signing key: broken PEM")
		case block.Type != keyType:
			return nil, fmt.Errorf("signing key: it is a %q, not an %q; make one with openssl genrsa -traditional 2048", block.Type, keyType)
		case len(block.Headers) > 0:
			return nil, errors.New("signing key: it is encrypted; decrypt it first, with openssl rsa")
		case len(bytes.TrimSpace(rest)) > 0:
			return nil, errors.New("signing key: there is something after the key")
		}
		der = block.Bytes
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, errors.New("signing key: it is not an RSA private key in PKCS#1, as PEM or DER")
	}
	if err := checkSize(&key.PublicKey); err != nil {
		return nil, err
	}
	return key, nil
}

func checkSize(k *rsa.PublicKey) error {
	if n := k.N.BitLen(); n < keyBits {
		return fmt.Errorf("signing key: it has %d bits, and %d are the least", n, keyBits)
	}
	return nil
}
