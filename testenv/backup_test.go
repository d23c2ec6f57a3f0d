package testenv_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// offline runs a command of kuma-cp on the store of a mesh whose control plane does not run.
func offline(t *testing.T, m *testenv.Mesh, args ...string) string {
	t.Helper()
	path, err := testenv.Binary("kuma-cp")
	if err != nil {
		t.Fatal(err)
	}
	out, err := testenv.Run(t.Context(), testenv.Command{
		Name: "kuma-cp", Path: path, Args: args, Env: []string{"KUMA_GENERAL_WORK_DIR=" + filepath.Join(m.Dir(), "cp")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A mesh whose control plane goes on with a backup loses no request by it, and what it had learnt since: that is said.
func TestMeshAfterRestore(t *testing.T) {
	t.Parallel()
	m, backend, web := pair(t, testenv.Options{})
	before := serial(t, backend.In("backend"))
	load := testenv.StartLoad(t.Context(), web.Out("backend"), 50)
	backup := filepath.Join(m.Dir(), "files", "backup")
	m.CP.Kill()
	offline(t, m, "backup", "--file", backup)
	m.StartCP()
	m.Permit("later", "web", "nobody")
	const revoked = "0e120ec9-6b42-495d-9758-07b59fe86fb9"
	m.Kumactl("revoke", "dataplane-token", "--jti", revoked)

	m.CP.Kill()
	if told := offline(t, m, "restore", "--replace", "--file", backup); !strings.Contains(told, "revoked tokens: "+revoked) {
		t.Errorf("of a token that is valid again nothing is said:\n%s", told)
	}
	m.StartCP()
	eventually(t, 20*time.Second, "both proxies to be back", func() error {
		if got := m.Kumactl("inspect", "dataplanes"); strings.Count(got, "Online") != 2 {
			return fmt.Errorf("the proxies are\n%s", got)
		}
		return nil
	})
	if got := m.Kumactl("get", "traffic-permissions"); strings.Contains(got, "later") || !strings.Contains(got, "web-to-backend") {
		t.Errorf("the permissions are\n%s", got)
	}
	m.Permit("again", "web", "backend")
	m.Forbid("web-to-backend")
	settles(t, "web's requests", web.Out("backend"), allowed)
	if after := serial(t, backend.In("backend")); after != before {
		t.Errorf("the certificate %s was made anew: %s", before, after)
	}
	noneLost(t, load, 10)
}
