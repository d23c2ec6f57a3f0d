package testenv_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"koguma/certs"
	"koguma/policy"
	"koguma/testenv"
)

// sighting is a serial number that somebody showed at some moment.
type sighting struct {
	at     time.Time
	serial string
}

// inUse is the serial number of the first service's certificate that is in use, "" if there is none.
func inUse(id policy.ProxyIdentity) string {
	for _, c := range id.Certificates {
		if c.Acked {
			return c.Serial
		}
	}
	return ""
}

// What the control plane, kumactl and the agent show as the serial number in use is that of a handshake: over rotations, at
// any moment, it is one that a handshake showed within a second.
func TestShownSerialIsTheHandshakes(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true, LeafLife: 10 * time.Second})
	web := m.Start(testenv.Proxy{Serves: []string{"web"}})[0]
	var shaken []sighting
	handshake := func() string {
		t.Helper()
		chain, err := testenv.ServerChain(t.Context(), web.In("web"), "")
		if err != nil {
			t.Fatal(err)
		}
		shaken = append(shaken, sighting{time.Now(), certs.Serial(chain[0])})
		return shaken[len(shaken)-1].serial
	}
	shown := map[string][]sighting{}
	show := func(who string, id policy.ProxyIdentity, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if !id.ControlPlane.Connected || len(id.Roots) != 1 || id.Token == nil || id.Renewal.Overdue {
			t.Fatalf("%s: %+v", who, id)
		}
		shown[who] = append(shown[who], sighting{time.Now(), inUse(id)})
	}
	exact := 0
	tick := time.NewTicker(90 * time.Millisecond)
	defer tick.Stop()
	for n := range 230 {
		<-tick.C
		before := handshake()
		id, err := m.CP.Whoami(t.Context(), "web-1")
		show("control plane", id, err)
		mine, err := web.Whoami(t.Context())
		show("agent", mine, err)
		if n%20 == 0 {
			var id policy.ProxyIdentity
			err := policy.Decode([]byte(m.Kumactl("inspect", "identity", "web-1", "-o=json")), &id)
			show("kumactl", id, err)
		}
		if handshake() == before && inUse(id) == before && inUse(mine) == before {
			exact++
		}
	}
	serials := map[string]bool{}
	for _, s := range shaken {
		serials[s.serial] = true
	}
	for who, all := range shown {
		for _, s := range all {
			if !seenAround(shaken, s) {
				t.Errorf("the %s shows %q at %s, which no handshake showed within a second", who, s.serial, s.at.Format(time.StampMilli))
			}
		}
	}
	if len(serials) < 3 || len(shown["agent"]) < 200 || len(shown["kumactl"]) < 10 {
		t.Errorf("%d certificates in %d samples", len(serials), len(shown["agent"]))
	}
	if exact < 200 {
		t.Errorf("only %d samples had the serial of the handshakes before and after", exact)
	}
	t.Logf("%d certificates, %d of %d samples exact", len(serials), exact, len(shown["agent"]))
}

// seenAround is whether a handshake showed the same within a second of it.
func seenAround(shaken []sighting, s sighting) bool {
	for _, h := range shaken {
		if d := h.at.Sub(s.at).Abs(); h.serial == s.serial && d <= time.Second {
			return true
		}
	}
	return false
}

// The sheet has all that there is to know of a proxy, in words that openssl uses too, and neither a key nor a token. Of one
// that has gone it says what was seen last.
func TestInspectIdentity(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	web := m.Start(testenv.Proxy{Serves: []string{"web", "admin"}})[0]
	sheet := m.Kumactl("inspect", "identity", "web-1")
	for _, service := range []string{"web", "admin"} {
		chain, err := testenv.ServerChain(t.Context(), web.In(service), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"spiffe://default/" + service + " ", openssl(t, chain[0].Raw, "-serial")} {
			if !strings.Contains(sheet, want) {
				t.Errorf("%q is not there:\n%s", want, sheet)
			}
		}
	}
	root := openssl(t, m.Roots("default")[0].Raw, "-fingerprint", "-sha256")
	for _, want := range []string{strings.ToLower(strings.ReplaceAll(root, ":", "")), "in use", "agent", "to ", "key 1"} {
		if !strings.Contains(sheet, want) {
			t.Errorf("%q is not there:\n%s", want, sheet)
		}
	}
	if strings.Contains(sheet, "pending") || strings.Contains(sheet, "PRIVATE") || strings.Contains(sheet, string(web.Token)) {
		t.Errorf("the sheet:\n%s", sheet)
	}
	t.Logf("the sheet:\n%s", sheet)
	definition, err := policy.EncodeYAML(web.Dataplane)
	if err != nil {
		t.Fatal(err)
	}
	m.Apply(string(definition)) // so that it stays
	if err := web.Stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	eventually(t, 10*time.Second, "the control plane to notice", func() error {
		after := m.Kumactl("inspect", "identity", "web-1")
		if !strings.Contains(after, "the rest is what was seen until then") || !strings.Contains(after, "spiffe://default/admin") {
			return fmt.Errorf("the sheet:\n%s", after)
		}
		return nil
	})
}

// openssl is what openssl x509 prints of a certificate for these options, after the "=".
func openssl(t *testing.T, der []byte, options ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "certificate")
	if err := os.WriteFile(path, der, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("openssl", append([]string{"x509", "-inform=der", "-noout", "-in", path}, options...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v: %s", err, out)
	}
	_, value, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
	return value
}
