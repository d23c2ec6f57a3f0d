package certs_test

import (
	"bytes"
	"testing"
	"time"

	"koguma/certs"
)

// What ParseCA takes is a chain that leads to a root, and a key is that of the first or none of it.
func FuzzParseCA(f *testing.F) {
	ca, err := certs.NewCA(certs.CAOptions{CommonName: "root", Life: time.Hour})
	if err != nil {
		f.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ca.CertPEM())
	f.Add(append(ca.CertPEM(), ca.CertPEM()...))
	f.Add(key)
	f.Add(bytes.Repeat([]byte("-"), 1<<10))
	f.Fuzz(func(t *testing.T, data []byte) {
		chain, err := certs.ParseCA(data)
		if err != nil {
			return
		}
		root := chain[len(chain)-1]
		if err := root.CheckSignatureFrom(root); err != nil || !root.IsCA {
			t.Errorf("it ends with %q: %v", root.Subject, err)
		}
		if got, err := certs.WithKey(chain, key); err == nil && !got.Certificate().Equal(chain[0]) {
			t.Error("a CA with another certificate")
		}
	})
}
