package cp_test

import (
	"context"
	"crypto/rsa"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// A token that is revoked loses its stream, in whatever way the list is written; nobody else does. Taken off the list,
// it is let in again.
func TestRevokedWhileConnected(t *testing.T) {
	t.Parallel()
	p := start(t)
	by := func(id, name string) *stream {
		t.Helper()
		return p.joinBy(p.conn, "sotw", sign(t, token.Claims{Mesh: "default", ID: id}),
			node(t, "default."+name, brought(dataplane(name, "web"))))
	}
	const list = "dataplane-token-revocations-default"
	good := by("good", "web-1")
	for _, text := range []string{"bad", "other,bad", "other, bad\n", "other\r\nbad\r\n"} {
		bad := by("bad", "web-2")
		begin := time.Now()
		p.put("/meshes/default/secrets/"+list, cptest.SecretJSON(list, []byte(text)))
		bad.ended(codes.Unauthenticated, "revoked")
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%q: it took %v", text, took)
		}
		again := p.open(p.conn, "sotw", sign(t, token.Claims{Mesh: "default", ID: "bad"}))
		again.askAs(node(t, "default.web-2", brought(dataplane("web-2", "web"))), "")
		again.ended(codes.Unauthenticated, "revoked")
		p.delete("/meshes/default/secrets/" + list)
		p.eventually("the list to be gone", func() bool {
			a := p.askBootstrap("", map[string]any{"mesh": "default", "name": "nobody", "workdir": "/w",
				"dataplaneToken": sign(t, token.Claims{Mesh: "default", ID: "bad"})})
			return a.Status == http.StatusNotFound
		})
	}
	by("bad", "web-2")
	good.leave()
}

// Who came in by a signing key goes with it; who came in by another stays.
func TestSigningKeyDeletedWhileConnected(t *testing.T) {
	t.Parallel()
	p := start(t)
	issued := p.rest("POST", "/tokens/dataplane", `{"mesh":"default","validFor":"1h"}`) // by the newest key, 2
	p.put("/meshes/default/secrets/"+cptest.KeyName(3), cptest.SecretJSON(cptest.KeyName(3), cptest.NewKey(t)))
	newer := p.rest("POST", "/tokens/dataplane", `{"mesh":"default","validFor":"1h"}`)
	old := p.joinBy(p.conn, "sotw", issued, node(t, "default.web-1", brought(dataplane("web-1", "web"))))
	kept := p.joinBy(p.conn, "delta", newer, node(t, "default.web-2", brought(dataplane("web-2", "web"))))
	p.delete("/meshes/default/secrets/" + cptest.KeyName(2))
	old.ended(codes.Unauthenticated, `no longer has signing key "2"`)
	kept.leave()
}

// A stream ends with its token.
func TestTokenEndsWhileConnected(t *testing.T) {
	t.Parallel()
	p := start(t)
	end := time.Now().Add(3 * time.Second).Truncate(time.Second)
	s := p.joinBy(p.conn, "sotw", sign(t, token.Claims{Mesh: "default", ExpiresAt: end}),
		node(t, "default.web-1", brought(dataplane("web-1", "web"))))
	s.ended(codes.Unauthenticated, "expired")
	if late := time.Since(end); late < 0 || late > time.Second {
		t.Errorf("it ended %v after the token", late)
	}
}

// brief is a key that is gone when it has been asked for once.
type brief struct {
	oneKey
	asked *atomic.Int32
}

func (k brief) Key(mesh, kid string) (*rsa.PublicKey, error) {
	if k.asked.Add(1) > 1 {
		return nil, token.ErrNoKey
	}
	return k.oneKey.Key(mesh, kid)
}

// briefStore is a store in which a Dataplane is another, or gone, when it has been written.
type briefStore struct {
	store.Store
	then policy.Resource
}

func (s briefStore) Write(ctx context.Context, ops ...store.Op) error {
	err := s.Store.Write(ctx, ops...)
	for _, op := range ops {
		d, ok := op.Put.(*policy.Dataplane)
		switch {
		case err != nil || !ok:
		case s.then == nil:
			err = store.Delete(ctx, s.Store, d.Key())
		default:
			err = s.Store.Write(ctx, store.Op{Put: s.then, Expect: store.Any})
		}
	}
	return err
}

// What is withdrawn just while a proxy comes in ends its session all the same.
func TestWithdrawnWhileComingIn(t *testing.T) {
	t.Parallel()
	key, err := token.ParseKey(cptest.SigningKey())
	if err != nil {
		t.Fatal(err)
	}
	web := sign(t, token.Claims{Mesh: "default", Tags: map[string][]string{"kuma.io/service": {"web"}}})
	for name, c := range map[string]struct {
		keys  token.Keys
		store func(store.Store) store.Store
		want  codes.Code
	}{
		"nothing":       {oneKey{&key.PublicKey}, func(s store.Store) store.Store { return s }, codes.OK},
		"the key":       {brief{oneKey{&key.PublicKey}, new(atomic.Int32)}, func(s store.Store) store.Store { return s }, codes.Unauthenticated},
		"the Dataplane": {oneKey{&key.PublicKey}, func(s store.Store) store.Store { return briefStore{s, nil} }, codes.NotFound},
		"what the Dataplane stands for": {oneKey{&key.PublicKey},
			func(s store.Store) store.Store { return briefStore{s, parse(t, dataplane("dp-1", "api"))} }, codes.PermissionDenied},
	} {
		memory := store.NewMemory()
		if err := memory.Write(t.Context(), store.Op{Put: cptest.Mesh("default"), Expect: store.Absent}); err != nil {
			t.Fatal(err)
		}
		core := cp.NewCore(c.store(memory), c.keys, time.Hour, slog.New(slog.DiscardHandler))
		var end error
		ctx := grpcmetadata.NewIncomingContext(t.Context(), grpcmetadata.Pairs("authorization", web))
		s, err := core.Accept(ctx, node(t, "default.dp-1", brought(dataplane("dp-1", "web"))), func(err error) { end = err })
		if err != nil {
			t.Fatal(err)
		}
		if status.Code(end) != c.want {
			t.Errorf("%s: it ended with %v, want %v", name, end, c.want)
		}
		s.Close(false)
		memory.Close()
	}
}

// oneKey is the key for everything.
type oneKey struct{ key *rsa.PublicKey }

func (k oneKey) Key(string, string) (*rsa.PublicKey, error) { return k.key, nil }
