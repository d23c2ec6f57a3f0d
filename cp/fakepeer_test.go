package cp_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"koguma/cp"
	"koguma/cp/registry"
	"koguma/policy"
)

// fake is a control plane that behaves as a test wants it to, with a lease that is renewed until the test ends.
func (f *planes) fake(h http.HandlerFunc) (address string) {
	f.t.Helper()
	ca, err := registry.LoadCPAuthority(f.t.Context(), f.store)
	if err != nil {
		f.t.Fatal(err)
	}
	config := cp.PeerTLS("fake", ca)
	own, err := config.GetCertificate(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{*own} // or the server shows one of its own
	s := httptest.NewUnstartedServer(h)
	s.TLS, s.EnableHTTP2 = config, true
	s.StartTLS()
	f.t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	address = s.Listener.Addr().String()
	f.lease("fake", address)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-time.After(50 * time.Millisecond):
				f.renew("fake")
			case <-stop:
				return
			}
		}
	}()
	f.t.Cleanup(func() { close(stop); <-stopped })
	return address
}

// say sends a line, at once.
func say(w http.ResponseWriter, line string) {
	fmt.Fprintln(w, line)
	http.NewResponseController(w).Flush()
}

const nothingYet = `{"full":true,"now":"2026-01-01T00:00:00Z","news":"of a later version"}`

// What is no account of proxies is not taken for one: the control plane that tells it counts as one that does not answer, and
// the log says why.
func TestControlPlaneTellsNonsense(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"hello":                             "what it tells of its proxies",
		`{"now":"2026-01-01T00:00:00Z"}`:    "and not of what there was",
		`{"full":true,"Now":"2026-01-01T"}`: "what it tells of its proxies",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			f := newPlanes(t)
			a := f.boot()
			f.fake(func(w http.ResponseWriter, r *http.Request) { say(w, line) })
			a.eventually("the log to say so", func() bool { return strings.Contains(a.log.String(), want) })
			if a.heard() != 0 || a.unheard() != 1 {
				t.Errorf("%d are heard and %d are not, want 0 and 1", a.heard(), a.unheard())
			}
		})
	}
}

// One that tells of its proxies and does not answer questions is waited for, and not for long. Signs of life keep it from counting
// as gone, and none are missed for long.
func TestControlPlaneDoesNotAnswer(t *testing.T) {
	t.Parallel()
	f := newPlanes(t)
	a := f.boot()
	quiet := make(chan struct{})
	address := f.fake(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/roll" {
			<-r.Context().Done()
			return
		}
		say(w, nothingYet)
		for {
			select {
			case <-time.After(20 * time.Millisecond):
				say(w, "")
			case <-quiet:
				<-r.Context().Done()
				return
			case <-r.Context().Done():
				return
			}
		}
	})
	a.hears(1)
	begin := time.Now()
	got := a.get("/meshes/default/dataplanes/_overview")
	if took := time.Since(begin); took < time.Second || took > 10*time.Second {
		t.Errorf("the answer took %v, want 2s", took)
	}
	if warning := got.Header.Get("Koguma-Warning"); got.Status != http.StatusOK || !strings.Contains(warning, address+" does not answer") {
		t.Errorf("%d, with the warning %q", got.Status, warning)
	}
	var all policy.ControlPlanes
	if err := policy.Decode([]byte(a.rest("GET", "/control-planes", "")), &all); err != nil || all.Total != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, o := range all.Items {
		want := policy.ControlPlaneSelf
		if o.Address == address {
			want = policy.ControlPlaneHeard
		}
		if o.Status != want {
			t.Errorf("%s is %s, want %s", o.InstanceID, o.Status, want)
		}
	}
	close(quiet)
	a.eventually("it to be missed", func() bool { return a.heard() == 0 && a.unheard() == 1 })
}
