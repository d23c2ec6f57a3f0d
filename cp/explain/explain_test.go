package explain_test

import (
	"crypto/x509"
	"testing"
	"time"

	"koguma/cp/explain"
	"koguma/policy"
)

// A certificate is one from its beginning to its end.
func TestCertificateCause(t *testing.T) {
	t.Parallel()
	now := time.Now()
	chain := []*x509.Certificate{{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}}
	for _, c := range []struct {
		chain []*x509.Certificate
		at    time.Time
		want  string
	}{
		{chain, now, ""},
		{chain, now.Add(-2 * time.Hour), policy.CauseNotYetValid},
		{chain, now.Add(2 * time.Hour), policy.CauseExpired},
		{nil, now, policy.CauseNoCertificate},
	} {
		if got := explain.CertificateCause(c.chain, c.at); got != c.want {
			t.Errorf("at %v: %q, want %q", c.at, got, c.want)
		}
	}
}
