package cp_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"koguma/certs"
	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/cp/registry"
	"koguma/policy"
)

// A CA in files that are replaced is rotated when both are, within restRefresh; half of it changes nothing.
func TestRotationOfFiles(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
		write := func(path string, data []byte) {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		fresh := func() (cert, key []byte) {
			ca, err := certs.NewCA(certs.CAOptions{CommonName: "given", Life: 100 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if key, err = ca.KeyPEM(); err != nil {
				t.Fatal(err)
			}
			return ca.CertPEM(), key
		}
		settle := func() {
			for range 4 {
				web.take().ack()
				api.take().ack()
			}
		}
		cert, key := fresh()
		write(certFile, cert)
		write(keyFile, key)
		m := cptest.Mesh("default")
		m.MTLS = &policy.MTLS{EnabledBackend: "given", Backends: []policy.Backend{
			{Name: "given", Type: policy.BackendProvided, Conf: policy.Document(fmt.Sprintf(`{"cert":{"file":%q},"key":{"file":%q}}`, certFile, keyFile))},
			{Name: "ca-1", Type: policy.BackendBuiltin},
		}}
		if _, err := (registry.Registry{Store: w.store}).Put(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		w.rest()
		settle()
		w.stands("settled: given of given")
		cert, key = fresh()
		write(certFile, cert)
		time.Sleep(2 * cp.RestRefresh)
		w.stands("settled: given of given")
		write(keyFile, key)
		time.Sleep(2 * cp.RestRefresh)
		w.stands("trust-both: given of given given")
		settle()
		w.stands("settled: given of given")
		if roots := w.core.Trust("default").Authorities; !roots[0].NotAfter.Equal(notAfter(t, cert)) {
			t.Errorf("the roots end %v", roots[0].NotAfter)
		}
	})
}

func notAfter(t *testing.T, cert []byte) time.Time {
	t.Helper()
	chain, err := certs.ParseChain(cert)
	if err != nil {
		t.Fatal(err)
	}
	return chain[0].NotAfter
}
