package certs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"koguma/certs"
)

func TestWorkloadID(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mesh, service string
		good          bool
	}{
		{"default", "web", true},
		{"a.b-c_d", "Web.v1_x-y", true},
		{"10.0.0.1", "web", true},
		{strings.Repeat("m", 255), "web", true},
		{strings.Repeat("m", 256), "web", false},
		{"default", strings.Repeat("a", 2048-len("spiffe://default/")), true},
		{"default", strings.Repeat("a", 2049-len("spiffe://default/")), false},
		{"", "web", false},
		{"default", "", false},
		{"Default", "web", false},
		{"spiffe://default", "web", false},
		{"spiffe:", "web", false},
		{"default/x", "web", false},
		{"default:80", "web", false},
		{"u@default", "web", false},
		{"[::1]", "web", false},
		{"de%66ault", "web", false},
		{"...", "web", false},
		{"-", "web", false},
		{"default", ".", false},
		{"default", "..", false},
		{"default", "...", false},
		{"default", "_", false},
		{"default", "a/b", false},
		{"default", "a%2fb", false},
		{"default", "*", false},
		{"default", "a b", false},
		{"default", "a:b", false},
		{"default", "a?b", false},
		{"default", "a#b", false},
		{"default", "a\x00", false},
		{"default", "wéb", false},
	} {
		id, err := certs.WorkloadID(test.mesh, test.service)
		if (err == nil) != test.good {
			t.Errorf("%q, %q: got %v, %v", test.mesh, test.service, id, err)
		}
		if want := "spiffe://" + test.mesh + "/" + test.service; test.good && id.String() != want {
			t.Errorf("got %q, want %q", id, want)
		}
	}
}

// The characters of a service are those of a segment of a SPIFFE ID.
func TestWorkloadIDCharacters(t *testing.T) {
	t.Parallel()
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	for c := range 256 {
		_, err := certs.WorkloadID("default", fmt.Sprintf("a%ca", c))
		if want := strings.ContainsRune(letters+"._-", rune(c)); (err == nil) != want {
			t.Errorf("%q: %v", rune(c), err)
		}
	}
}

// An ID that we make is the one that go-spiffe reads, with mesh and service where we put them.
func FuzzWorkloadID(f *testing.F) {
	f.Add("default", "web")
	f.Add("spiffe://default", "web")
	f.Add("a.b", "..")
	f.Add("", "/")
	f.Fuzz(func(t *testing.T, mesh, service string) {
		id, err := certs.WorkloadID(mesh, service)
		text := "spiffe://" + mesh + "/" + service
		read, rerr := spiffeid.FromString(text)
		if err == nil && (rerr != nil || read != id || id.TrustDomain().Name() != mesh || id.Path() != "/"+service) {
			t.Errorf("%q, %q: %v; go-spiffe: %v, %v", mesh, service, id, read, rerr)
		}
		strict := strings.ContainsRune(service, '/') || strings.Trim(mesh, "._-") == "" || strings.Trim(service, "._-") == "" ||
			len(mesh) > 255 || len(text) > 2048 || strings.ContainsAny(mesh, "/:")
		if err != nil && rerr == nil && !strict {
			t.Errorf("%q, %q: refused (%v), though go-spiffe reads it", mesh, service, err)
		}
	})
}
