package certs_test

import (
	"crypto/x509"
	"math/big"
	"testing"

	"koguma/certs"
)

// Serial numbers have whole bytes and capitals, as openssl prints them.
func TestSerial(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0xa: "0A", 0xabc: "0ABC", 0xabcd: "ABCD"} {
		if got := certs.Serial(&x509.Certificate{SerialNumber: big.NewInt(n)}); got != want {
			t.Errorf("%#x is %s, want %s", n, got, want)
		}
	}
}

// A fingerprint is the SHA-256 of the whole certificate.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := certs.Fingerprint(&x509.Certificate{Raw: []byte("abc")}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
