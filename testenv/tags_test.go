package testenv_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"koguma/policy"
	"koguma/testenv"
	"koguma/xds"
)

// permission is a TrafficPermission in YAML, its matches in YAML as well.
func permission(name, to string, sources ...string) string {
	yaml := fmt.Sprintf("type: TrafficPermission\nmesh: default\nname: %s\nsources:\n", name)
	for _, s := range sources {
		yaml += "  - match: " + s + "\n"
	}
	return yaml + "destinations:\n  - match: " + to + "\n"
}

// caller is a program that is no Envoy, with a certificate for a service.
type caller struct {
	service string
	cert    *tls.Certificate
}

// getsIn reports whether an inbound lets the caller in, which has to be so with and without an SNI.
func (c caller) getsIn(ctx context.Context, s *testenv.Sidecar, service string) (bool, error) {
	named := dialer{cert: c.cert, serverName: xds.ServerName(c.service, service, "default")}.answer(ctx, s, service)
	if bare := (dialer{cert: c.cert}).answer(ctx, s, service); bare != named {
		return false, fmt.Errorf("%q with a name in the SNI, and %q without", named, bare)
	}
	if named != allowed && named != open && named != denied && named != closed {
		return false, errors.New(named)
	}
	return named == allowed || named == open, nil
}

// Sources are judged by their tags, whatever those look like, over HTTP and over TCP; one of several is enough, and of one
// all tags are needed. Whether they dial with a name in the SNI makes no difference.
func TestSourcesByTags(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	s := m.Start(testenv.Proxy{Serves: []string{"backend", "db:tcp"}})[0]
	callers := map[string]caller{}
	for name, tags := range map[string]map[string]string{
		"red":   {policy.TagService: "web", "version": "1", "example.com/Team": "Red"},
		"beta":  {policy.TagService: "web", "version": "2.0_beta", "example.com/Team": "red"},
		"odd":   {policy.TagService: "Odd_Name.v2", "version": "2.0_beta"},
		"plain": {policy.TagService: "web"},
	} {
		callers[name] = caller{tags[policy.TagService], m.IdentityOf("default", tags)}
	}
	for _, c := range []struct{ want, sources string }{
		{"red", `{kuma.io/service: web, version: "1"}`},
		{"beta", `{kuma.io/service: web, version: 2.0_beta}`},
		{"beta odd", `{version: 2.0_beta}`},
		{"beta odd", `{kuma.io/service: "*", version: 2.0_beta}`},
		{"odd", `{kuma.io/service: Odd_Name.v2, version: "*"}`},
		{"red", `{kuma.io/service: web, example.com/Team: Red}`},
		{"beta", `{example.com/Team: red}`},
		{"beta red", `{example.com/Team: "*"}`},
		{"", `{example.com/team: "*"}`},
		{"", `{version: 2.0_beta, example.com/Team: Red}`},
		{"odd red", `{kuma.io/service: web, version: "1"}|{kuma.io/service: Odd_Name.v2}`},
		{"beta plain red", `{kuma.io/service: web}|{version: "1"}`},
	} {
		sources := strings.Split(c.sources, "|")
		m.Apply(permission("to-backend", "{kuma.io/service: backend}", sources...) + "---\n" +
			permission("to-db", "{kuma.io/service: db}", sources...))
		eventually(t, 10*time.Second, c.want+" to be let in by "+c.sources, func() error {
			for name, who := range callers {
				for _, service := range []string{"backend", "db"} {
					in, err := who.getsIn(t.Context(), s, service)
					if err != nil || in != slices.Contains(strings.Fields(c.want), name) {
						return fmt.Errorf("%s to %s: %v, %v", name, service, in, err)
					}
				}
			}
			return nil
		})
	}
}
