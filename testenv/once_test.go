package testenv_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"koguma/store"
	"koguma/testenv"
	"koguma/token"
)

// Control planes that start at the same time on an empty Postgres make one CA and one signing key between them, and find each
// other.
func TestControlPlanesStartAtOnce(t *testing.T) {
	t.Parallel()
	cfg, err := testenv.ServePostgres(t).NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	type started struct {
		cp  *testenv.ControlPlane
		err error
	}
	const n = 3
	up := make(chan started)
	for range n {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			cp, err := testenv.StartControlPlane(t.Context(), dir, testenv.PostgresEnv(cfg)...)
			up <- started{cp, err}
		}()
	}
	var all []*testenv.ControlPlane
	for range n {
		s := <-up
		if s.err != nil {
			t.Error(s.err)
			continue
		}
		all = append(all, s.cp)
		defer s.cp.Stop(10 * time.Second)
	}
	pins, keys := map[string]bool{}, map[string]bool{}
	for _, cp := range all {
		raw, err := cp.Kumactl(t.Context(), "generate", "dataplane-token", "--mesh=default", "--name=web-1", "--valid-for=1h")
		if err != nil {
			t.Fatal(err)
		}
		claims, err := token.Inspect(token.Raw(strings.TrimSpace(raw)))
		if err != nil {
			t.Fatal(err)
		}
		pins[claims.Pin], keys[claims.KeyID] = true, true
		eventually(t, 10*time.Second, "the others to be heard", func() error {
			text, err := cp.Kumactl(t.Context(), "inspect", "control-planes")
			if err == nil && strings.Count(text, " heard ") != n-1 {
				err = fmt.Errorf("there are\n%s", text)
			}
			return err
		})
	}
	if len(pins) != 1 || len(keys) != 1 {
		t.Errorf("there are CAs %v and signing keys %v, want one of each", pins, keys)
	}
}
