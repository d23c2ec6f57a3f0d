package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
)

const identityOfWeb = `{"mesh":"default","proxy":"web-1","seen":"control-plane",
"controlPlane":{"connected":true,"instanceId":"cp-1","since":"2026-01-02T02:04:05Z"},
"certificates":[
 {"service":"web","spiffeId":"spiffe://default/web","dnsNames":["v1.version.web"],"serial":"0A1B","issuer":{"subject":"CN=default,O=Koguma","fingerprint":"0123456789abcdef0123456789abcdef"},
  "notBefore":"2026-01-01T00:00:00Z","notAfter":"2026-01-03T03:04:05Z","keyOrigin":"agent","acked":true},
 {"service":"web","spiffeId":"spiffe://default/web","serial":"2C","issuer":{"subject":"CN=\u001b[31m"},
  "notBefore":"2026-01-02T00:00:00Z","notAfter":"2026-01-04T03:04:05Z","keyOrigin":"agent","acked":false}],
"roots":[{"subject":"CN=default,O=Koguma","fingerprint":"0123456789abcdef0123456789abcdef","notAfter":"2036-01-03T03:04:05Z","acked":true}],
"token":{"jti":"0e12","kid":"3","exp":"2026-02-02T03:04:05Z"},
"renewal":{"last":"2026-01-02T03:00:00Z","result":"failed","overdue":true},
"lastError":{"time":"2026-01-02T03:04:00Z","reason":"no \u001b[31m luck"},"aFieldOfTomorrow":1}`

func TestIdentitySheet(t *testing.T) {
	t.Parallel()
	var id policy.ProxyIdentity
	if err := policy.DecodeOpen([]byte(identityOfWeb), &id); err != nil {
		t.Fatal(err)
	}
	sheet := func() string {
		t.Helper()
		var out strings.Builder
		if err := writeIdentity(&out, &id, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	want := `Proxy:          web-1
Mesh:           default
Connected:      to cp-1 since 2026-01-02 02:04:05 (1h)
Token:          0e12, key 3, ends 2026-02-02 03:04:05 (in 31d)
Last renewal:   2026-01-02 03:00:00 (4m ago); the next one fails; the next one is OVERDUE
Last error:     no \x1b[31m luck (5s ago)

CERTIFICATE            STATE     SERIAL   NOT BEFORE            NOT AFTER                     ISSUER                                 KEY FROM   DNS NAMES
spiffe://default/web   in use    0A1B     2026-01-01 00:00:00   2026-01-03 03:04:05 (in 1d)   CN=default,O=Koguma 0123456789abcdef   agent      v1.version.web
spiffe://default/web   pending   2C       2026-01-02 00:00:00   2026-01-04 03:04:05 (in 2d)   CN=\x1b[31m                            agent      -

TRUSTED ROOT          STATE    NOT AFTER                     SHA-256
CN=default,O=Koguma   in use   2036-01-03 03:04:05 (in 10y)  0123456789abcdef0123456789abcdef
`
	// The last column is padded to its longest cell.
	if diff := cmp.Diff(strings.Fields(want), strings.Fields(sheet())); diff != "" {
		t.Errorf("-want +got:\n%s\n%s", diff, sheet())
	}
	id = policy.ProxyIdentity{Mesh: "default", Proxy: "web-1"}
	if got := sheet(); !strings.Contains(got, "never, as far as") || strings.Contains(got, "CERTIFICATE") || strings.Contains(got, "ROOT") {
		t.Errorf("of a proxy that was never there:\n%s", got)
	}
	id.ControlPlane.Until = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	id.Token = &policy.IdentityToken{ExpiresAt: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)}
	if got := sheet(); !strings.Contains(got, "no, not since 2026-01-02 03:00:00 (4m ago)") || !strings.Contains(got, "its id is for administrators") {
		t.Errorf("of a proxy that has gone, to who is no administrator:\n%s", got)
	}
}

func TestInspectIdentity(t *testing.T) {
	t.Parallel()
	address := serve(t, map[string]string{"GET /meshes/other/dataplanes/web-1/_identity": identityOfWeb})
	got := kumactl(t, address, "inspect", "identity", "web-1", "-m", "other", "-o", "json")
	var id policy.ProxyIdentity
	if err := policy.Decode([]byte(got.stdout), &id); err != nil || len(id.Certificates) != 2 { // strictly: what we print is what we know
		t.Fatalf("%v\n%s%s", err, got.stdout, got.stderr)
	}
	for args, code := range map[string]int{
		"inspect identity":                      2,
		"inspect identity a b":                  2,
		"inspect identity absent":               1,
		"inspect identity ../secrets":           1,
		"inspect identity web-1 -m other":       0,
		"inspect identity web-1 -m other -oxml": 2,
	} {
		if got := kumactl(t, address, strings.Fields(args)...); got.code != code {
			t.Errorf("%s: exit code %d, want %d\n%s", args, got.code, code, got.stderr)
		}
	}
}
