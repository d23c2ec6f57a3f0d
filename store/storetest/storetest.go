// Package storetest is the contract of a [store.Store] as tests: every store passes all of them.
package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
	"koguma/store"
)

// Run tests the stores that open returns: each time an empty one, which the suite closes.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"resources are read as they were written", testReadBack},
		{"a list is sorted and of one mesh", testList},
		{"the store sets times and versions", testStamps},
		{"versions only grow", testVersionsGrow},
		{"expectations hold or nothing is written", testExpectations},
		{"later operations see earlier ones", testSequence},
		{"what is unchanged is not written", testUnchanged},
		{"strings are literal", testLiteralStrings},
		{"names are literal", testLiteralNames},
		{"what cannot be kept is refused", testRefused},
		{"a closed store is closed", testClosed},
		{"of two writers exactly one wins", testOneWins},
		{"no write is lost among many", testNoLostWrites},
		{"put says who created", testPutCreates},
		{"a watch begins with everything", testWatchBegins},
		{"a watch shows changes", testWatchChanges},
		{"a watch coalesces", testWatchCoalesces},
		{"a watch ends", testWatchEnds},
		{"a waiting watch ends", testWatchEndsWaiting},
		{"a watch misses nothing and keeps the order", testWatchConsistent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("closing: %v", err)
				}
			}()
			tt.test(t, s)
		})
	}
}

func meta(t policy.Type, mesh, name string) policy.Meta {
	return policy.Meta{Type: t, Mesh: mesh, Name: name}
}

// labelled is a small resource that says value.
func labelled(name, value string) *policy.Secret {
	r := &policy.Secret{Meta: meta(policy.TypeSecret, "default", name)}
	r.Labels = map[string]string{"value": value}
	return r
}

func value(r policy.Resource) string { return r.Metadata().Labels["value"] }

func dataplane(mesh, name string) *policy.Dataplane {
	return &policy.Dataplane{
		Meta: meta(policy.TypeDataplane, mesh, name),
		Networking: policy.Networking{
			Address:  "192.0.2.1",
			Inbound:  []policy.Inbound{{Port: 8080, Tags: map[string]string{policy.TagService: name}, Health: &policy.Health{Ready: true}}},
			Outbound: []policy.Outbound{{Port: 9090, Tags: map[string]string{policy.TagService: "backend"}}},
		},
	}
}

func key(r policy.Resource) policy.Key { return r.Metadata().Key() }

func write(t *testing.T, s store.Store, ops ...store.Op) {
	t.Helper()
	if err := s.Write(t.Context(), ops...); err != nil {
		t.Fatalf("writing: %v", err)
	}
}

func put(t *testing.T, s store.Store, resources ...policy.Resource) {
	t.Helper()
	for _, r := range resources {
		write(t, s, store.Op{Put: r, Expect: store.Any})
	}
}

func get(t *testing.T, s store.Store, k policy.Key) policy.Resource {
	t.Helper()
	r, err := s.Get(t.Context(), k)
	if err != nil {
		t.Fatalf("getting: %v", err)
	}
	return r
}

func list(t *testing.T, s store.Store, typ policy.Type, mesh string) []policy.Resource {
	t.Helper()
	all, err := s.List(t.Context(), typ, mesh)
	if err != nil {
		t.Fatalf("listing: %v", err)
	}
	return all
}

func keys(all []policy.Resource) []string {
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = key(r).String()
	}
	return names
}

// refused checks that err is target and names the resource.
func refused(t *testing.T, what string, err, target error, k policy.Key) {
	t.Helper()
	if !errors.Is(err, target) || !strings.Contains(err.Error(), k.String()) {
		t.Errorf("%s: got error %v, want %q naming %s", what, err, target, k)
	}
}

// diff compares but for what the store sets.
func diff(want, got policy.Resource) string {
	if store.Same(want, got) {
		return ""
	}
	return fmt.Sprintf("(-want +got):\n%s", cmp.Diff(want, got))
}
