package cp_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/token"
	"koguma/xds"
)

// A thousand bad tokens a second from one peer are all refused, and are a line a second in the log that says how
// many there were; good proxies come in meanwhile, and another peer has its own line.
func TestFloodOfBadTokens(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		defer w.run()()
		from := func(ip string, port int, raw string) error {
			ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: port}})
			ctx = grpcmetadata.NewIncomingContext(ctx, grpcmetadata.Pairs("authorization", raw))
			s, err := w.core.Accept(ctx, node(t, "default.web-1", brought(dataplane("web-1", "web"))), func(error) {})
			if err == nil {
				s.Close(true)
			}
			return err
		}
		const seconds, rate = 60, 1000
		for i := range seconds * rate {
			if from("10.0.0.1", i%60000, "bad") == nil {
				t.Fatal("a bad token was accepted")
			}
			if i%(10*rate) == 0 {
				if err := from("10.0.0.1", 1, w.raw); err != nil {
					t.Errorf("a good proxy was refused: %v", err)
				}
				from("10.0.0.2", 1, "bad")
			}
			time.Sleep(time.Second / rate)
		}
		synctest.Wait()
		log := w.log.String()
		flood, other := strings.Count(log, "audit peer=10.0.0.1:"), strings.Count(log, "audit peer=10.0.0.2:")
		if flood < seconds-1 || flood > seconds+1 || other != 6 {
			t.Errorf("%d lines of the one and %d of the other peer, want %d and 6", flood, other, seconds)
		}
		if n := strings.Count(log, fmt.Sprint("suppressed=", rate-1)); n < seconds-2 {
			t.Errorf("%d lines tell how many there were:\n%.1000s", n, log)
		}
	})
}

// However many peers there are, only so many are remembered.
func TestRefusedPeersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := new(cptest.Log)
		r := cp.NewRefusals(log)
		for i := range 5000 {
			r.Add(fmt.Sprintf("[2001:db8::%x]:1", i))
		}
		if n := r.Peers(); n > 1025 {
			t.Errorf("%d peers remembered", n)
		}
		if n := strings.Count(log.String(), "\n"); n != 1025 {
			t.Errorf("%d lines, want 1025", n)
		}
		time.Sleep(time.Second)
		r.Add("[2001:db8:1::]:1")
		if n := r.Peers(); n != 1 {
			t.Errorf("%d peers remembered after a while, want 1", n)
		}
	})
}

// The line about a refused token has its ids if its signature was good, and no word of it otherwise.
func TestRefusalIsAudited(t *testing.T) {
	t.Parallel()
	p := start(t)
	good := sign(t, token.Claims{Mesh: "default", ID: "canary", Name: "other"})
	line := func(raw string) string {
		t.Helper()
		found := ""
		p.eventually("a line in the log", func() bool { // there is one a second
			before := len(p.log.String())
			s := p.open(p.conn, "sotw", raw)
			s.askAs(node(t, "default.dp-1", brought(dataplane("dp-1", "web"))), xds.TypeCluster)
			if _, err := s.ads.recv(); err == nil {
				t.Fatal("it was let in")
			}
			for l := range strings.Lines(p.log.String()[before:]) {
				if strings.Contains(l, "msg=audit") && strings.Contains(l, "verb=connect") {
					found = l
				}
			}
			return found != ""
		})
		return found
	}
	l := line(good)
	for _, want := range []string{"peer=127.0.0.1:", "default.dp-1", "check=name", "jti=canary", "kid=2", "outcome=refused"} {
		if !strings.Contains(l, want) {
			t.Errorf("no %s in %s", want, l)
		}
	}
	if l := line(good[:len(good)-8] + "AAAAAAAA"); !strings.Contains(l, "check=signature") || strings.Contains(l, "canary") || strings.Contains(l, "jti=") || strings.Contains(l, "kid=") {
		t.Errorf("a token that nobody vouched for: %s", l)
	}
	if log := p.log.String(); strings.Contains(log, good[len(good)-20:]) {
		t.Error("the token is in the log")
	}
}

// Each session that ends is counted by its reason.
func TestClosingsAreCounted(t *testing.T) {
	t.Parallel()
	p := start(t)
	closed := func(reason string, do func()) {
		t.Helper()
		name := fmt.Sprintf("koguma_sessions_closed_total{reason=%q}", reason)
		before := p.metric(name)
		do()
		p.eventually(reason+" to be counted", func() bool { return p.metric(name) == before+1 })
	}
	const list = "dataplane-token-revocations-default"
	mesh := func(id string) string { return sign(t, token.Claims{Mesh: "default", ID: id}) }
	p.apply("dp-1", dataplane("dp-1", "web")) // so that it does not go with its proxy
	closed("left", func() { p.comes(mesh("a"), "dp-1").leave() })
	closed("broken", func() { p.comes(mesh("a"), "dp-1").cancel() })
	p.comes(mesh("a"), "dp-2")
	closed("superseded", func() { p.comes(mesh("a"), "dp-2") })
	closed("dataplane-deleted", func() { p.delete("/meshes/default/dataplanes/dp-2") })
	p.comes(mesh("bad"), "dp-3")
	closed("revoked", func() { p.put("/meshes/default/secrets/"+list, cptest.SecretJSON(list, []byte("bad"))) })
	end := time.Now().Add(2 * time.Second)
	closed("expired", func() { p.comes(sign(t, token.Claims{Mesh: "default", ExpiresAt: end}), "dp-4") })
	p.comes(sign(t, token.Claims{Mesh: "default", Tags: map[string][]string{"kuma.io/service": {"web"}}}), "dp-5")
	closed("tags", func() { p.apply("dp-5", dataplane("dp-5", "api")) })
}
