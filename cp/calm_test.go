package cp_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/store"
	"koguma/token"
	"koguma/xds"
)

// When another CA signs, a stream leaves its certificate alone for a moment. That may be over before the stream has done what
// else it does: then too the certificate is replaced at once, and not when it is due. This is about how time goes by while
// code runs, so it is no test for a bubble.
func TestIssuerChangesWithinAMoment(t *testing.T) {
	t.Parallel()
	key, err := token.ParseKey(cptest.SigningKey())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: store.NewMemory(), key: oneKey{&key.PublicKey}, log: new(cptest.Log)}
	defer w.store.Close()
	w.core = cp.NewCore(w.store, w.key, 10*time.Second, slog.New(slog.NewTextHandler(w.log, nil)))
	w.raw = sign(t, token.Claims{Mesh: "default", ExpiresAt: time.Now().Add(time.Hour)})
	w.put(cptest.Mesh("default"))
	f := &far{world: w, backend: lasting(10 * time.Second)}
	f.Session = w.session(node(t, "default.web-1", brought(dataplane("web-1", "web"))))
	defer f.Close(true)
	f.request("web")

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	last := ""
	for i, ca := range []*farCA{newFarCA(t), newFarCA(t), newFarCA(t), newFarCA(t)} {
		v := &xds.View{Mesh: "default", Service: "web", MTLS: true, Roots: string(ca.CertPEM())}
		cp.OfferOver(f.Session, v, ca, f.backend, time.Microsecond, "web")
		for {
			snapshot, changed := f.Snapshot()
			if now := string(snapshot.Of(xds.TypeSecret).Get(identity).Body); now != last {
				last = now
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatalf("CA %d signs, and the certificate is still that of the one before", i+1)
			}
		}
	}
}

// A certificate is left alone for a moment only, when another CA signs.
func TestIssuerChangeIsSpread(t *testing.T) {
	t.Parallel()
	inFarBubble(t, func(t *testing.T, f *far) {
		f.offer(f.ca)
		first := f.identity()
		f.ca = newFarCA(t)
		v := &xds.View{Mesh: "default", Service: "web", MTLS: true, Roots: string(f.ca.CertPEM())}
		const spread = time.Second
		cp.OfferOver(f.Session, v, f.ca, f.backend, spread, "web")
		begin := time.Now()
		f.follow(spread)
		if asked, _ := f.ca.requests(); len(asked) != 1 || asked[0].Before(begin) {
			t.Errorf("within %v the CA was asked at %v, and not once", spread, asked)
		}
		if f.identity() == first {
			t.Error("the certificate is still that of the CA before")
		}
	})
}
