package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"koguma/certs"
	"koguma/policy"
)

// provisionerKey is a private key, and the id by which the step-ca knows it.
type provisionerKey struct {
	id  string
	key *ecdsa.PrivateKey
}

// jwk is a key in JSON (RFC 7517). Ciphertext is there if it is encrypted.
type jwk struct {
	Type       string `json:"kty"`
	Curve      string `json:"crv"`
	X          string `json:"x"`
	Y          string `json:"y"`
	D          string `json:"d"`
	ID         string `json:"kid"`
	Ciphertext string `json:"ciphertext"`
}

var errEncryptedJWK = errors.New("it is encrypted; decrypt it first, with step crypto jwe decrypt")

// parseProvisionerKey reads the private key of a provisioner: EC P-256, in PEM or as a JWK. Its id is the one in the JWK, or
// else the thumbprint. No error says anything of the key.
func parseProvisionerKey(data []byte) (provisionerKey, error) {
	data = bytes.TrimSpace(data)
	if bytes.HasPrefix(data, []byte("{")) {
		return parseJWK(data)
	}
	if bytes.Count(data, []byte(".")) == 4 && !bytes.HasPrefix(data, []byte("-")) { // a JWE in its compact form
		return provisionerKey{}, errEncryptedJWK
	}
	key, err := certs.ParseKey(data)
	if err != nil {
		return provisionerKey{}, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return provisionerKey{}, errOtherKey
	}
	id, err := thumbprint(&ec.PublicKey)
	return provisionerKey{id, ec}, err
}

var errOtherKey = errors.New("it is no EC key on P-256, which is what step makes for a JWK provisioner")

func parseJWK(data []byte) (provisionerKey, error) {
	var k jwk
	if policy.DecodeOpen(data, &k) != nil { // the error might quote
		return provisionerKey{}, errors.New("it is no JWK in JSON")
	}
	switch {
	case k.Ciphertext != "":
		return provisionerKey{}, errEncryptedJWK
	case k.Type != "EC" || k.Curve != "P-256":
		return provisionerKey{}, errOtherKey
	case k.D == "":
		return provisionerKey{}, errors.New("it is a public key; give the private one")
	}
	d, err := base64.RawURLEncoding.Strict().DecodeString(k.D)
	if err != nil {
		return provisionerKey{}, errors.New("its d is not base64url")
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		return provisionerKey{}, errors.New("its d is no private key on P-256")
	}
	x, y, err := coordinates(&key.PublicKey)
	if err != nil {
		return provisionerKey{}, err
	}
	if k.X != x || k.Y != y {
		return provisionerKey{}, errors.New("its d is not the key of its x and y")
	}
	if k.ID == "" {
		k.ID, err = thumbprint(&key.PublicKey)
	}
	return provisionerKey{k.ID, key}, err
}

// thumbprint is the id of a key by RFC 7638.
func thumbprint(key *ecdsa.PublicKey) (string, error) {
	x, y, err := coordinates(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, x, y))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// coordinates are those of a key on P-256, as a JWK has them.
func coordinates(key *ecdsa.PublicKey) (x, y string, err error) {
	point, err := key.Bytes() // 4, x, y
	if err != nil {
		return "", "", err
	}
	half := (len(point) - 1) / 2
	return base64.RawURLEncoding.EncodeToString(point[1 : 1+half]), base64.RawURLEncoding.EncodeToString(point[1+half:]), nil
}
