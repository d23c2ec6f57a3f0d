package cp_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	grpcmetadata "google.golang.org/grpc/metadata"

	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
	"koguma/xds"
)

// world is a core at work in a bubble, over a store with the mesh "default".
type world struct {
	t     *testing.T
	store store.Store
	key   oneKey
	core  *cp.Core
	raw   string
	log   *cptest.Log
	stop  func() // of a core that is started again
}

// inBubble runs a test in a bubble, whose time goes by as fast as nothing happens.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	key, err := token.ParseKey(cptest.SigningKey()) // out here, where other tests may wait for it
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: store.NewMemory(), key: oneKey{&key.PublicKey}, log: new(cptest.Log)}
		defer w.store.Close()
		w.raw = sign(t, token.Claims{Mesh: "default", ExpiresAt: time.Now().Add(1000 * time.Hour)})
		w.renew()
		w.put(cptest.Mesh("default"))
		test(t, w)
	})
}

// renew makes another core of it.
func (w *world) renew() {
	w.core = cp.NewCore(w.store, w.key, 10*time.Second, slog.New(slog.NewTextHandler(w.log, nil)))
}

// run runs the core until the test ends it.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		w.core.Run(ctx)
		close(done)
	}()
	synctest.Wait()
	return func() { cancel(); <-done }
}

func (w *world) put(all ...policy.Resource) {
	w.t.Helper()
	for _, r := range all {
		if _, err := store.Put(w.t.Context(), w.store, r); err != nil {
			w.t.Fatal(err)
		}
	}
}

// session is the session of a proxy that is let in.
func (w *world) session(n *corev3.Node) xds.Session {
	w.t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	ctx = grpcmetadata.NewIncomingContext(ctx, grpcmetadata.Pairs("authorization", w.raw))
	s, err := w.core.Accept(ctx, n, cancel)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// names are the Dataplanes in the store.
func (w *world) names() string {
	w.t.Helper()
	all, err := w.store.List(w.t.Context(), policy.TypeDataplane, "")
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, r := range all {
		names = append(names, r.Metadata().Name)
	}
	return strings.Join(names, " ")
}
