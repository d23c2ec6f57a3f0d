package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"koguma/certs"
	"koguma/cp/cptest"
	"koguma/cp/registry"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

func secretData(t *testing.T, s store.Store, mesh, name string) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), policy.Key{Type: policy.TypeSecret, Mesh: mesh, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return r.(*policy.Secret).Data
}

// A new mesh has a signing key of its own at once.
func TestMeshGetsItsSigningKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/m2", `{"type":"Mesh","name":"m2"}`)
	name := policy.SigningKeyPrefix("m2") + "1"
	first := secretData(t, s.store, "m2", name)
	if _, err := token.ParseKey(first); err != nil {
		t.Error(err)
	}
	s.mustPut("/meshes/m2", `{"type":"Mesh","name":"m2","labels":{"a":"b"}}`)
	if string(secretData(t, s.store, "m2", name)) != string(first) {
		t.Error("a change of the mesh changed its key")
	}
}

// The CA comes with the first enabling, as the backend says, and stays through all later changes.
func TestMeshGetsItsCA(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	body := func(conf string) string {
		return `{"type":"Mesh","name":"default","mtls":{"enabledBackend":"ca-1","backends":[{"name":"ca-1","type":"builtin"` + conf + `}]}}`
	}
	load := func() *certs.CA {
		t.Helper()
		ca, err := certs.LoadCA(secretData(t, s.store, "default", policy.CACertName("default", "ca-1")), secretData(t, s.store, "default", policy.CAKeyName("default", "ca-1")))
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	s.mustPut("/meshes/default", strings.Replace(body(""), `"enabledBackend":"ca-1",`, "", 1))
	if n := len(s.contents()); n != 2 {
		t.Errorf("a backend that is not enabled made secrets: %d resources", n)
	}
	r := s.put("/meshes/default", body(`,"conf":{"caCert":{"expiration":"720h"}}`))
	if r.Status != 200 || !strings.Contains(r.Body, "every connection is denied") {
		t.Errorf("%d %s, want a warning", r.Status, r.Body)
	}
	c := load().Certificate()
	if c.Subject.CommonName != "default" || len(c.URIs) != 1 || c.URIs[0].String() != "spiffe://default" {
		t.Errorf("CA of %v, %v", c.Subject, c.URIs)
	}
	if _, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || time.Until(c.NotAfter) > 720*time.Hour {
		t.Errorf("CA with a %T until %v", c.PublicKey, c.NotAfter)
	}
	s.mustPut(permissionURL, cptest.Permission)
	if r := s.put("/meshes/default", body(`,"conf":{"caCert":{"RSAbits":2048}}`)); r.Body != "{}" {
		t.Errorf("with a permission: %s", r.Body)
	}
	if !load().Certificate().Equal(c) {
		t.Error("a change of the mesh changed its CA")
	}
	s.mustPut("/meshes/default", `{"type":"Mesh","name":"default"}`)
	s.mustPut("/meshes/default", body(""))
	if !load().Certificate().Equal(c) {
		t.Error("off and on again changed the CA")
	}
	s.mustPut("/meshes/default", `{"type":"Mesh","name":"default"}`)
	s.send(request{method: "DELETE", path: secretPath(policy.CAKeyName("default", "ca-1"))})
	s.mustPut("/meshes/default", body(`,"conf":{"caCert":{"RSAbits":2048}}`))
	if k, ok := load().Certificate().PublicKey.(*rsa.PublicKey); !ok || k.N.BitLen() != 2048 {
		t.Error("without its key, the CA was not made anew as the backend says")
	}
}

// A mesh goes with all that is in it, and does not go while proxies are.
func TestMeshDeletion(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut(webPath, dataplaneJSON("web-1", "web"))
	s.mustPut(permissionURL, cptest.Permission)
	s.mustPut("/meshes/default", mtlsOn)
	s.mustPut("/meshes/m2", `{"type":"Mesh","name":"m2"}`)
	s.send(request{method: "DELETE", path: "/meshes/default"}).WantProblem(t, 409, `["web-1"]`)
	s.send(request{method: "DELETE", path: webPath})
	if r := s.send(request{method: "DELETE", path: "/meshes/default"}); r.Status != 200 {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	left := s.contents()
	if len(left) != 2 || left[cptest.Mesh("m2").Key().String()] == "" {
		t.Errorf("left: %v", left)
	}
}

// race is a write into which another comes.
type race struct {
	name        string
	late, write func(context.Context, store.Store) error
	fails       string // what the error says; "" is none
	left        int    // resources in the end
}

func races(t *testing.T) []race {
	put := func(r policy.Resource) func(context.Context, store.Store) error {
		return func(ctx context.Context, s store.Store) error {
			_, err := registry.Registry{Store: s}.Put(ctx, r)
			return err
		}
	}
	remove := func(r policy.Resource) func(context.Context, store.Store) error {
		return func(ctx context.Context, s store.Store) error {
			return registry.Registry{Store: s}.Delete(ctx, r.Metadata().Key(), false)
		}
	}
	web, err := policy.Parse([]byte(dataplaneJSON("web-1", "web")))
	if err != nil {
		t.Fatal(err)
	}
	return []race{
		{"a Dataplane whose mesh goes", remove(cptest.Mesh("default")), put(web), "there is no mesh", 0},
		{"a mesh into which a Dataplane comes", put(web), remove(cptest.Mesh("default")), "", 0},
		{"the last but one key", remove(cptest.Secret(cptest.KeyName(1), nil)), remove(cptest.Secret(cptest.KeyName(2), nil)), "last signing key", 2},
		{"the same serial number twice", put(cptest.Secret(cptest.KeyName(3), cptest.NewKey(t))), put(cptest.Secret(cptest.KeyName(3), cptest.NewKey(t))), "another key", 4},
	}
}

// What a write was decided upon still holds when it happens; else it is decided again.
func TestWritesAreDecidedOnWhatIsThere(t *testing.T) {
	t.Parallel()
	for _, c := range races(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			api := newServer(t)
			if err := api.store.Write(t.Context(), store.Op{Put: cptest.Secret(cptest.KeyName(2), cptest.SigningKey()), Expect: store.Absent}); err != nil {
				t.Fatal(err)
			}
			s := &cptest.LateStore{Store: api.store, Late: func() {
				if err := c.late(t.Context(), api.store); err != nil {
					t.Error(err)
				}
			}}
			err := c.write(t.Context(), s)
			if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("%v, want %q", err, c.fails)
			}
			if left := api.contents(); len(left) != c.left {
				t.Errorf("%d resources are left, want %d: %v", len(left), c.left, left)
			}
		})
	}
}

// Many writers at the same time all get through.
func TestConcurrentPuts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			name := fmt.Sprintf("dp-%d", i%10)
			if r := s.put("/meshes/default/dataplanes/"+name, dataplaneJSON(name, fmt.Sprintf("svc-%d", i))); r.Status != 200 && r.Status != 201 {
				t.Errorf("%d %s", r.Status, r.Body)
			}
		})
	}
	wg.Wait()
	if n := len(s.contents()); n != 12 {
		t.Errorf("%d resources, want 12", n)
	}
}

// brokenStore fails in a way that says where its file is.
type brokenStore struct{ store.Store }

func (brokenStore) Write(context.Context, ...store.Op) error {
	return errors.New("/root/.kuma/koguma.db: no space left on device")
}

// What broke inside is for the log, and for nobody else.
func TestInternalErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.handler = newAPI(settings.Default(), brokenStore{s.store}, s.log)
	s.put(webPath, dataplaneJSON("web-1", "web")).WantProblem(t, 500, "Internal Server Error")
	if !strings.Contains(s.log.String(), "no space left") {
		t.Errorf("not in the log: %s", s.log)
	}
}

// A handler that panics answers, and says nothing of it.
func TestPanic(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.handler = newAPI(settings.Default(), nil, s.log)
	s.put(webPath, dataplaneJSON("web-1", "web")).WantProblem(t, 500, "Internal Server Error")
	if !strings.Contains(s.log.String(), "goroutine") {
		t.Errorf("no stack in the log: %s", s.log)
	}
}
