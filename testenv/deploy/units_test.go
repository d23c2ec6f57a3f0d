package deploy_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"koguma/agent"
)

// directives are those of a unit, by name. Of one that is there several times it is the last.
func directives(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/systemd/" + file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.SplitSeq(strings.ReplaceAll(string(text), "\\\n", ""), "\n") {
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			all[name] = value
		}
	}
	return all
}

// A proxy that is stopped has the time to drain, and its agent is the one that stops its Envoy. Its token is followed, and not
// copied at the start. Both programs say when they are ready, have no rights, and are the only ones that write where they do.
func TestUnits(t *testing.T) {
	t.Parallel()
	dp := directives(t, "kuma-dp@.service")
	patience, err := time.ParseDuration(dp["TimeoutStopSec"])
	if err != nil || patience < agent.DefaultDrainTime+10*time.Second {
		t.Errorf("TimeoutStopSec %v, %v; the drain time is %v", patience, err, agent.DefaultDrainTime)
	}
	for name, want := range map[string]string{"KillMode": "mixed", "TimeoutStartSec": "infinity", "RuntimeDirectory": "kuma-dp/%i"} {
		if dp[name] != want {
			t.Errorf("%s: %q, want %q", name, dp[name], want)
		}
	}
	if _, ok := dp["LoadCredential"]; ok || !strings.Contains(dp["ExecStart"], " --dataplane-token-file=/etc/koguma/proxies/%i.token") {
		t.Errorf("the token is not read from its file: %s", dp["ExecStart"])
	}
	if !strings.Contains(dp["ExecStart"], " --work-dir=/run/kuma-dp/%i ") {
		t.Errorf("the work directory is not that of the unit: %s", dp["ExecStart"])
	}
	for _, file := range []string{"kuma-cp.service", "kuma-dp@.service"} {
		unit := directives(t, file)
		for name, want := range map[string]string{
			"Type": "notify", "Restart": "always", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "ProtectSystem": "strict",
			"MemoryDenyWriteExecute": "yes", "UMask": "0077",
		} {
			if got, ok := unit[name]; !ok || got != want {
				t.Errorf("%s: %s is %q, want %q", file, name, got, want)
			}
		}
	}
}
