package authority_test

import (
	"strings"
	"testing"
	"time"

	"koguma/authority"
	"koguma/certs"
	"koguma/policy"
)

// Whatever is in the secret with a provisioner's key, reading it ends well or with a reason that shows nothing of it.
func FuzzProvisionerKey(f *testing.F) {
	const x, d = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI" // of RFC 7515
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"` + x + `","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"` + d + `"}`))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","d":"AAAA"}`))
	f.Add([]byte("a.b.c.d.e"))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n"))
	root, err := certs.NewCA(certs.CAOptions{CommonName: "root", Life: time.Hour})
	if err != nil {
		f.Fatal(err)
	}
	b := &policy.Backend{Name: "ca-1", Type: "step",
		Conf: `{"caCert":{"secret":"roots"},"key":{"secret":"key"},"provisioner":"p","url":"https://localhost"}`}
	kind, err := authority.KindOf(b.Type)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := kind.Open("default", b, func(name string) []byte {
			if name == "roots" {
				return root.CertPEM()
			}
			return data
		})
		if err != nil && (strings.Contains(err.Error(), d) || !strings.HasPrefix(err.Error(), "conf.key: ")) {
			t.Errorf("got %v", err)
		}
	})
}
