package cp_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

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
		p.put("/meshes/default/secrets/"+list, secretJSON(list, []byte(text)))
		bad.ended(codes.Unauthenticated, "revoked")
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%q: it took %v", text, took)
		}
		again := p.open(p.conn, "sotw", sign(t, token.Claims{Mesh: "default", ID: "bad"}))
		again.askAs(node(t, "default.web-2", brought(dataplane("web-2", "web"))), "")
		again.ended(codes.Unauthenticated, "revoked")
		p.delete("/meshes/default/secrets/" + list)
	}
	by("bad", "web-2")
	good.leave()
}

// Who came in by a signing key goes with it; who came in by another stays.
func TestSigningKeyDeletedWhileConnected(t *testing.T) {
	t.Parallel()
	p := start(t)
	issued := p.rest("POST", "/tokens/dataplane", `{"mesh":"default","validFor":"1h"}`) // by the newest key, 2
	p.put("/meshes/default/secrets/"+keyName(3), secretJSON(keyName(3), otherKey(t)))
	newer := p.rest("POST", "/tokens/dataplane", `{"mesh":"default","validFor":"1h"}`)
	old := p.joinBy(p.conn, "sotw", issued, node(t, "default.web-1", brought(dataplane("web-1", "web"))))
	kept := p.joinBy(p.conn, "delta", newer, node(t, "default.web-2", brought(dataplane("web-2", "web"))))
	p.delete("/meshes/default/secrets/" + keyName(2))
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

func otherKey(t *testing.T) []byte {
	t.Helper()
	key, err := token.NewKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return key
}
