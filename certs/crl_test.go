package certs_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"koguma/certs"
)

// A revocation list is the CA's, holds until the CA ends, and is the same whoever makes it.
func TestRevocationList(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{0, 2048} {
		ca, err := certs.NewCA(certs.CAOptions{CommonName: "default", RSABits: bits, Life: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().Truncate(time.Second).UTC()
		revoked := []certs.Revoked{{Serial: big.NewInt(77), At: at}, {Serial: new(big.Int).Lsh(big.NewInt(1), 127), At: at}}
		text, err := ca.RevocationList(revoked, 1<<63, at)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ca.RevocationList(revoked, 1<<63, at)
		if err != nil || !bytes.Equal(text, again) {
			t.Errorf("%d bits: the second one is another (%v)", bits, err)
		}
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "X509 CRL" || len(rest) > 0 {
			t.Fatalf("%d bits: not one CRL in PEM: %q", bits, text)
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if err := list.CheckSignatureFrom(ca.Certificate()); err != nil {
			t.Error(err)
		}
		if want := new(big.Int).Lsh(big.NewInt(1), 63); list.Number.Cmp(want) != 0 || !list.NextUpdate.Equal(ca.Certificate().NotAfter) {
			t.Errorf("number %v, next update %v", list.Number, list.NextUpdate)
		}
		for i, e := range list.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(revoked[i].Serial) != 0 || !e.RevocationTime.Equal(at) {
				t.Errorf("entry %d is %v of %v", i, e.SerialNumber, e.RevocationTime)
			}
		}
		if len(list.RevokedCertificateEntries) != len(revoked) {
			t.Errorf("%d entries", len(list.RevokedCertificateEntries))
		}
	}
}

// A CA that may sign certificates only signs no list.
func TestRevocationListNotAllowed(t *testing.T) {
	t.Parallel()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := certs.LoadCA(pair(t, key, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.RevocationList(nil, 1, time.Now()); !errors.Is(err, certs.ErrNoCRL) {
		t.Errorf("got %v", err)
	}
}
