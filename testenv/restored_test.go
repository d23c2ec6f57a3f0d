package testenv_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// A store that is restored from before mTLS takes it from nobody: the agents refuse what follows from it, say why, and go on
// as they were. When somebody means it, and changes the Mesh, they take it.
func TestStoreRestoredFromBeforeMTLS(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{})
	all := m.Start(testenv.Proxy{Serves: []string{"backend"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}})
	backend, web := all[0], all[1]
	m.Permit("p", "web", "backend")
	file := filepath.Join(m.Dir(), "cp", "koguma.db")
	m.CP.Kill()
	backup, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m.StartCP()
	setMode(t, m, "STRICT")
	settles(t, "web's requests", web.Out("backend"), allowed)
	eventually(t, 10*time.Second, "plaintext to be refused", func() error {
		if inPlaintext(backend.In("backend")) || inPlaintext(web.In("web")) { // else an agent has not heard of STRICT yet
			return fmt.Errorf("it is not")
		}
		return nil
	})

	load := testenv.StartLoad(t.Context(), web.Out("backend"), 50)
	m.CP.Kill()
	if err := os.WriteFile(file, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	m.StartCP()
	for _, s := range all {
		eventually(t, 20*time.Second, "the agent to say why", func() error { return says(t, s, "is older than the one that said STRICT") })
	}
	table := m.Kumactl("inspect", "dataplanes")
	if strings.Count(table, "is older than the one that said STRICT") != 2 {
		t.Errorf("the control plane shows\n%s", table)
	}
	if inPlaintext(backend.In("backend")) {
		t.Error("plaintext gets in")
	}
	noneLost(t, load, 10)
	m.Apply("type: Mesh\nname: default\nlabels: {plaintext: meant}\n")
	eventually(t, 10*time.Second, "plaintext to get in", func() error {
		if !inPlaintext(backend.In("backend")) {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	settles(t, "web's requests", web.Out("backend"), allowed)
}

// says is nil if there are these words at an agent's /ready.
func says(t *testing.T, s *testenv.Sidecar, words string) error {
	resp, err := http.Get("http://" + readiness(t, s))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || !strings.Contains(string(text), words)) {
		err = fmt.Errorf("it says %s", text)
	}
	return err
}
