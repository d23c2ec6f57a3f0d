package api_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/cp/cptest"
	"koguma/store"
	"koguma/testenv"
)

// badInput is a request that must be refused.
type badInput struct {
	request
	status int
	say    string // what the answer has to have in it
}

// badInputs are the lines of the corpus of bad input, by the number that each has there: "-run BadInput/17" runs one. Those that
// are missing are tests of their own: 31, 34 and 35 below, and from 36 on the scripts of kumactl and kuma-dp.
func badInputs() map[string][]badInput {
	all := map[string][]badInput{}
	for _, some := range []map[string][]badInput{badRequests(), badResources(), badSecrets()} {
		maps.Copy(all, some)
	}
	return all
}

// Whatever is wrong with a request, the answer says what, and is the same over every store. Nothing is written, and who tried to
// is in the audit log.
func TestBadInput(t *testing.T) {
	t.Parallel()
	all := everyStore(t)
	for _, s := range all {
		s.mustPut("/meshes/default", mtlsOn)
		s.mustPut("/meshes/default/dataplanes/live", dataplaneJSON("live", "live"))
		s.mustPut(secretPath(cptest.KeyName(2)), cptest.SecretJSON(cptest.KeyName(2), cptest.SigningKey()))
		if r := s.send(request{method: "DELETE", path: secretPath(cptest.KeyName(1))}); r.Status != 200 {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
	}
	inputs, peers := badInputs(), 0
	for _, line := range slices.Sorted(maps.Keys(inputs)) {
		t.Run(line, func(t *testing.T) {
			before := all.contents()
			for _, in := range inputs[line] {
				if in.peer == "" { // a new one each, as those who may not have one line a second
					in.peer = fmt.Sprintf("127.0.%d.%d:40000", peers/250, 1+peers%250)
					peers++
				}
				all.refuse(t, in)
			}
			if diff := cmp.Diff(before, all.contents()); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("31 two at once", func(t *testing.T) {
		for name, s := range all {
			t.Run(name, func(t *testing.T) { oneWriterWins(t, s) })
		}
	})
	t.Run("35 text", func(t *testing.T) { textIsKeptOrRefused(t, all) })
}

// stores are APIs that differ in their stores only, by the names of these.
type stores map[string]*server

// everyStore is an API over each kind of store there is.
func everyStore(t *testing.T) stores {
	t.Helper()
	file, err := store.OpenFile(filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	return stores{
		"memory":   newServerOver(t, store.NewMemory()),
		"file":     newServerOver(t, file),
		"postgres": newServerOver(t, openPostgres(t)),
	}
}

// openPostgres is a store in a server of its own, which runs until the test ends.
func openPostgres(t *testing.T) store.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	cfg, err := testenv.ServePostgres(t).NewDatabase(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Migrate(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	s, err := store.OpenPostgres(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// send is the answer that all of them give.
func (all stores) send(t *testing.T, r request) cptest.Response {
	t.Helper()
	want := all["memory"].send(r)
	for name, s := range all {
		if name == "memory" {
			continue
		}
		if got := s.send(r); got.Status != want.Status || got.Body != want.Body {
			t.Errorf("%s %s: over %s\n%d %s\nin memory\n%d %s", r.method, r.path, name, got.Status, got.Body, want.Status, want.Body)
		}
	}
	return want
}

// refuse expects that all of them refuse it, and say so.
func (all stores) refuse(t *testing.T, in badInput) {
	t.Helper()
	since, version := map[string]int{}, map[string]uint64{}
	for name, s := range all {
		since[name], version[name] = s.log.Len(), s.version(t)
	}
	all.send(t, in.request).WantProblem(t, in.status, in.say)
	for name, s := range all {
		changes := in.method != http.MethodGet && in.method != http.MethodOptions
		if lines := s.log.Audited(since[name]); changes && (len(lines) != 1 || !strings.Contains(lines[0], "outcome=refused")) {
			t.Errorf("%s %s over %s has left in the audit log: %q", in.method, in.path, name, lines)
		}
		if s.version(t) != version[name] {
			t.Errorf("%s %s wrote something over %s", in.method, in.path, name)
		}
	}
}

// contents is everything there is in each.
func (all stores) contents() map[string]map[string]string {
	have := map[string]map[string]string{}
	for name, s := range all {
		have[name] = s.contents()
	}
	return have
}

// version grows with every write.
func (s *server) version(t *testing.T) uint64 {
	t.Helper()
	v, err := store.Version(t.Context(), s.store)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
