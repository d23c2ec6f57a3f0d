package cp_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"koguma/certs"
	"koguma/cp/cptest"
	"koguma/policy"
)

// A MeshTrafficPermission for some of a service's Dataplanes is in the views of those, as soon as it or their labels say so,
// and a TrafficPermission in those of the others.
func TestPermittedByTarget(t *testing.T) {
	t.Parallel()
	ca, err := certs.NewCA(certs.CAOptions{CommonName: "default", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	web := map[string]string{"kuma.io/service": "web"}
	x := indexOf(withoutCA(t), cptest.Secret("default.ca-builtin-cert-ca-1", ca.CertPEM()), cptest.Secret("default.ca-builtin-key-ca-1", key),
		trusting(ca), instance("a", web), instance("b", web), dialer("db", web), dialer("z", web), parse(t, cptest.Permission))
	says := func(when, a, b string) {
		t.Helper()
		for name, want := range map[string]string{"a": a, "b": b} {
			in := view(t, x, name).Inbounds[0]
			if got := fmt.Sprintf("%s: %v, doubts %v, %q", in.Note.Permission, in.Sources, in.Doubted, in.Callers); got != want {
				t.Errorf("%s, %s:\n got %s\nwant %s", when, name, got, want)
			}
		}
	}
	const none = `: [], doubts [], []`
	says("without", none, none)
	p := &policy.MeshTrafficPermission{Meta: policy.Meta{Type: policy.TypeMeshTrafficPermission, Mesh: "default", Name: "m"}}
	p.Spec.TargetRef = &policy.TargetRef{Kind: policy.TargetDataplane, Labels: map[string]string{"app": "web"}}
	p.Spec.From = []policy.From{
		{TargetRef: policy.TargetRef{Kind: policy.TargetMesh}, Default: policy.FromDefault{Action: policy.ShadowDeny}},
		{TargetRef: policy.TargetRef{Kind: policy.TargetMeshService, Name: "db"}, Default: policy.FromDefault{Action: policy.Deny}},
	}
	old := parse(t, strings.ReplaceAll(cptest.Permission, `"backend"`, `"web"`))
	x.Apply(old.Metadata().Key(), old)
	x.Apply(p.Key(), p)
	const byOld = `p: [web], doubts [], ["web"]`
	says("with it, and no labels", byOld, byOld)
	labelled := instance("b", web)
	labelled.Labels = map[string]string{"app": "web"}
	x.Apply(labelled.Key(), labelled)
	says("with labels", byOld, `m: [* but not (db)], doubts [* but not (db)], ["z"]`)
	again := *p
	again.Spec.From = p.Spec.From[1:]
	x.Apply(again.Key(), &again)
	says("with a Deny only", byOld, `m: [], doubts [], []`)
	x.Apply(p.Key(), nil)
	says("without it", byOld, byOld)
}
