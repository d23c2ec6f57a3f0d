package cp_test

import (
	"testing"
	"time"

	"koguma/cp/cptest"
	"koguma/policy"
)

// A CA that cannot sign a revocation list is not trusted while a certificate lives that is on one, unless by force: it
// would be good again.
func TestRotationToCAWithoutLists(t *testing.T) {
	t.Parallel()
	cert, key := caWithoutLists(t)
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		thief := w.thief("stolen-1", 30*time.Minute)
		w.rest()
		if list := web.list(); len(list) != 1 {
			t.Errorf("on the list: %v", list)
		}
		w.put(cptest.Secret(policy.CACertName("default", "ca-2"), cert), cptest.Secret(policy.CAKeyName("default", "ca-2"), key))
		w.enable("ca-2", "ca-1")
		w.stands("settled: ca-1 of ca-1")
		w.waits(": backend ca-2 cannot sign a revocation list")
		if b := w.core.Trust("default").WaitsFor; len(b) != 1 || !b[0].Until.Equal(thief) {
			t.Errorf("it waits for %v, want until %v", b, thief)
		}
		time.Sleep(time.Until(thief))
		w.rest()
		w.stands("trust-both: ca-1 of ca-1 ca-2")
	})
}

// Each CA that is trusted signs a list of its own, as soon as one has something to list: to Envoy a list for one CA
// means one for each.
func TestRotationHasListsOfAll(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		w.thief("stolen-1", 30*time.Minute)
		w.rest()
		w.enable("ca-2", "ca-1")
		w.stands("trust-both: ca-1 of ca-1 ca-2")
		if got := web.list(); len(got) != 2 || len(got[0]) != 1 || len(got[1]) != 0 {
			t.Errorf("the lists have %v", got)
		}
	})
}

// thief has it written down that a certificate of ca-1 was got by the token "stolen", and returns when it ends.
func (w *world) thief(name string, life time.Duration) time.Time {
	w.t.Helper()
	end := time.Now().Add(life).UTC()
	r, err := w.store.Get(w.t.Context(), policy.Key{Type: policy.TypeTrust, Mesh: "default", Name: "default"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(&policy.Issuance{Meta: policy.Meta{Type: policy.TypeIssuance, Mesh: "default", Name: name}, Certificates: []policy.IssuedCertificate{
		{Serial: "7", Service: "web", TokenID: "stolen", Authority: r.(*policy.Trust).Issuing, NotAfter: end},
	}})
	return end
}
