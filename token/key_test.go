package token_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"koguma/token"
)

func block(t *testing.T, typ string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

// A public key comes from us, from openssl rsa -pubout, or from openssl rsa -RSAPublicKey_out.
func TestParsePublicKey(t *testing.T) {
	t.Parallel()
	want := &newKey().PublicKey
	pkix, err := x509.MarshalPKIXPublicKey(want)
	for name, data := range map[string][]byte{
		"ours":               token.EncodePublicKey(want),
		"PKCS#1":             block(t, "RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(want), nil),
		"PKIX":               block(t, "PUBLIC KEY", pkix, err),
		"white space around": append([]byte(" \r\n"), append(token.EncodePublicKey(want), "\n \n"...)...),
		"CRLF":               []byte(strings.ReplaceAll(string(token.EncodePublicKey(want)), "\n", "\r\n")),
	} {
		if got, err := token.ParsePublicKey(data); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	t.Parallel()
	good := token.EncodePublicKey(&newKey().PublicKey)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	even := rsa.PublicKey{N: newKey().N, E: 2}
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, ecErr := x509.MarshalPKIXPublicKey(&elliptical.PublicKey)
	pkcs8, pkcs8Err := x509.MarshalPKCS8PrivateKey(newKey())
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":         {nil, "not PEM"},
		"text":            {[]byte("no key"), "not PEM"},
		"DER":             {x509.MarshalPKCS1PublicKey(&newKey().PublicKey), "not PEM"},
		"broken":          {good[:len(good)/2], "not PEM"},
		"text before it":  {append([]byte("key: "), good...), "not PEM"},
		"two":             {append(good[:len(good):len(good)], good...), "something after"},
		"text after it":   {append(good[:len(good):len(good)], 'x'), "something after"},
		"private, PKCS#1": {block(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(newKey()), nil), "it is the private one"},
		"private, PKCS#8": {block(t, "PRIVATE KEY", pkcs8, pkcs8Err), "it is the private one"},
		"certificate":     {block(t, "CERTIFICATE", []byte("x"), nil), `it is a "CERTIFICATE"`},
		"wrong inside":    {block(t, "RSA PUBLIC KEY", []byte("x"), nil), "although it says so"},
		"wrong in PKIX":   {block(t, "PUBLIC KEY", []byte("x"), nil), "although it says so"},
		"elliptic":        {block(t, "PUBLIC KEY", ec, ecErr), "not an RSA key"},
		"1024 bits":       {token.EncodePublicKey(&small.PublicKey), "1024 bits"},
		"exponent 2":      {token.EncodePublicKey(&even), "2 is no RSA exponent"},
	} {
		key, err := token.ParsePublicKey(test.data)
		if key != nil || err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}
