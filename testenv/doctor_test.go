package testenv_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
	"koguma/testenv"
)

// Doctors change nothing. A proxy that runs under the name that is looked at keeps its session, its Envoy and its certificate and
// is sent nothing, no request is lost, and nothing is written to the store; so it is, too, where the doctor's token is
// refused. The doctor knows the ports as those of the proxy itself.
func TestDoctorsDisturbNobody(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	m.Permit("p", "web", "backend")
	all := m.Start(testenv.Proxy{Serves: []string{"backend"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}})
	backend, web := all[0], all[1]
	settles(t, "web's requests", web.Out("backend"), allowed)
	m.Kumactl("apply", "--wait", "-f", m.File("type: Mesh\nname: other\n")) // nothing is on its way any more
	before := everything(t, m)
	envoy := backend.EnvoyPID()

	load := testenv.StartLoad(t.Context(), web.Out("backend"), 50)
	foreign := m.File(string(m.Token("default", "backend-1", "other")))
	for range 20 {
		out, err := doctorOf(t, m, backend, backend.TokenFile)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{"the Envoy of default.backend-1: the proxy runs\n", "the control plane would let the proxy in\n"} {
			if !strings.Contains(out, want) {
				t.Fatalf("no %q in\n%s", want, out)
			}
		}
		if out, err := doctorOf(t, m, backend, foreign); err == nil || !strings.Contains(out, "KG0109") {
			t.Fatalf("with a token for another service: %v\n%s", err, out)
		}
		if out := m.Kumactl("doctor"); strings.Contains(out, "FAIL") {
			t.Fatal(out)
		}
	}
	if sent, _, lost := load.Stop(); len(lost) > 0 {
		t.Errorf("of %d requests %d were lost: %v", sent, len(lost), lost[0])
	}
	if diff := cmp.Diff(before, everything(t, m)); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
	if now := backend.EnvoyPID(); now != envoy {
		t.Errorf("another Envoy runs: %d, and it was %d", now, envoy)
	}
}

// doctorOf runs kuma-dp doctor with the settings of a proxy, but for its token.
func doctorOf(t *testing.T, m *testenv.Mesh, s *testenv.Sidecar, tokenFile string) (string, error) {
	t.Helper()
	path, err := testenv.Binary("kuma-dp")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := testenv.Envoy()
	if err != nil {
		t.Fatal(err)
	}
	definition, err := policy.EncodeYAML(s.Dataplane)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return testenv.Run(ctx, testenv.Command{Name: "kuma-dp", Path: path, Stdin: string(definition), Args: []string{
		"doctor", "--cp-address=" + m.CP.DP, "--dataplane-token-file=" + tokenFile, "--dataplane-file=-", "--binary-path=" + binary, "--work-dir=" + s.Dir,
	}})
}

// everything is what there is to see of a mesh and its proxies: sessions and what was sent to them, certificates, tokens,
// the store, and the files of the agents.
func everything(t *testing.T, m *testenv.Mesh) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, what := range []string{"inspect dataplanes", "inspect tokens"} {
		all[what] = m.Kumactl(append(strings.Fields(what), "-o", "json")...)
	}
	db, err := os.ReadFile(filepath.Join(m.Dir(), "cp", "koguma.db"))
	if err != nil {
		t.Fatal(err)
	}
	all["store"] = fmt.Sprintf("%x", sha256.Sum256(db)) // is another one after any write
	entries, err := os.ReadDir(filepath.Join(m.Dir(), "agents"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all["files"] += e.Name() + " "
		inside, err := os.ReadDir(filepath.Join(m.Dir(), "agents", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range inside {
			all["files"] += e.Name() + "/" + f.Name() + " "
		}
	}
	return all
}
