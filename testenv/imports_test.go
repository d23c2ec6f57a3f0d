package testenv_test

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// edges are the imports between the packages of this module that there may be.
func edges() map[string][]string {
	return map[string][]string{
		"mistake":   nil, // for all to import
		"policy":    nil,
		"doctor":    {"policy"},
		"certs":     nil,
		"bootstrap": nil,
		"envoy":     nil,
		"systemd":   nil,
		"token":     {"policy"},
		"store":     {"policy"},
		"xds":       {"policy", "certs"},
		"agent":     {"bootstrap", "envoy", "xds", "token", "certs", "policy", "doctor"},
		"authority": {"token", "certs", "policy"},
		"gui":       {"policy"},
		"cp": {"cp/api", "cp/explain", "cp/registry", "cp/ledger", "cp/settings",
			"store", "xds", "token", "authority", "certs", "policy", "bootstrap", "gui"},

		"cp/api":      {"gui", "cp/explain", "cp/registry", "cp/problem", "cp/settings", "store", "xds", "token", "certs", "policy"},
		"cp/explain":  {"cp/ledger", "xds", "certs", "policy"},
		"cp/registry": {"cp/ledger", "cp/problem", "cp/settings", "store", "token", "authority", "certs", "policy"},
		"cp/ledger":   {"store", "token", "policy"},
		"cp/problem":  {"policy"},
		"cp/settings": {"store", "token", "policy"},

		"store/storetest": {"store", "policy"},          // what every store has to do, for their tests
		"cp/cptest":       {"store", "token", "policy"}, // what tests of several rooms of cp need
		"certs/certstest": nil,                          // bad certificates, and judges that know nothing of ours

		"cmd/kuma-cp": {"cp", "cp/settings", "systemd", "doctor"},
		"cmd/kuma-dp": {"agent", "systemd", "token", "policy", "doctor"},
		"cmd/kumactl": {"policy", "token", "doctor"},
	}
}

// Each package imports those that it may, and there is no other package.
func TestImports(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "koguma/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := edges()
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(fields[0], "koguma/")
		if name == "testenv" || strings.HasPrefix(name, "testenv/") {
			continue // may import anything, and nobody imports it
		}
		to, ok := allowed[name]
		if !ok {
			t.Errorf("package %s is not drawn in the design", name)
		}
		delete(allowed, name)
		for _, path := range fields[1:] {
			if own, ok := strings.CutPrefix(path, "koguma/"); ok && own != "mistake" && !slices.Contains(to, own) {
				t.Errorf("%s imports %s, and may import %v only", name, own, to)
			}
		}
	}
	if len(allowed) > 0 {
		t.Errorf("packages that are not there: %v", slices.Sorted(maps.Keys(allowed)))
	}
}

// No program links what belongs to another.
func TestProgramsStandApart(t *testing.T) {
	t.Parallel()
	for program, foreign := range map[string][]string{
		"kuma-cp": {"koguma/agent", "koguma/envoy", "testing"},
		"kuma-dp": {"koguma/cp", "koguma/store", "go.etcd.io/bbolt", "testing"},
		"kumactl": {"koguma/cp", "koguma/agent", "koguma/store", "koguma/xds", "koguma/certs", "google.golang.org/grpc", "testing"},
	} {
		out, err := exec.Command("go", "list", "-deps", "koguma/cmd/"+program).Output()
		if err != nil {
			t.Fatal(err)
		}
		for dep := range strings.Lines(string(out)) {
			if dep = strings.TrimSpace(dep); slices.ContainsFunc(foreign, func(f string) bool { return dep == f || strings.HasPrefix(dep, f+"/") }) || dep == "koguma/testenv" {
				t.Errorf("%s depends on %s", program, dep)
			}
		}
	}
}
