package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
	"koguma/store"
)

func testReadBack(t *testing.T, s store.Store) {
	mesh := &policy.Mesh{Meta: meta(policy.TypeMesh, "", "default")}
	backend := policy.Backend{Name: "ca-1", Type: policy.BackendBuiltin, DPCert: new(policy.DPCert)}
	backend.DPCert.Rotation.Expiration = policy.Duration(90 * time.Minute)
	backend.Conf = `{"caCert":{"RSAbits":2048,"words":"a < b"}}`
	mesh.MTLS = &policy.MTLS{EnabledBackend: "ca-1", Backends: []policy.Backend{backend}}
	resources := []policy.Resource{
		mesh,
		dataplane("default", "web-1"),
		&policy.TrafficPermission{
			Meta:         meta(policy.TypeTrafficPermission, "default", "all"),
			Sources:      []policy.Selector{{Match: map[string]string{policy.TagService: policy.Any}}},
			Destinations: []policy.Selector{{Match: map[string]string{policy.TagService: "web", "version": "1"}}},
		},
		&policy.Secret{Meta: meta(policy.TypeSecret, "default", "bytes"), Data: policy.Bytes{0, 1, 0xff, '"'}},
		&policy.GlobalSecret{Meta: meta(policy.TypeGlobalSecret, "", "ca"), Data: policy.Bytes("x")},
		&policy.ControlPlane{Meta: meta(policy.TypeControlPlane, "", "cp-1"), Address: "[::1]:5683", Started: time.Unix(9e8, 0).UTC(), Release: "1", Beat: 7},
		&policy.Issuance{Meta: meta(policy.TypeIssuance, "default", "i"), Certificates: []policy.IssuedCertificate{
			{Serial: "1f", Service: "web", TokenID: "t", Proxy: "web-1", Authority: "a", NotAfter: time.Unix(1e9, 0).UTC()},
		}},
		&policy.Trust{Meta: meta(policy.TypeTrust, "default", "t"), Issuing: "a", Stage: policy.StageIssue, Since: time.Unix(9e8, 0).UTC(), From: "ca-1",
			Authorities: []policy.TrustedAuthority{{Backend: "ca-2", Fingerprint: "a", Roots: "PEM\n", Since: time.Unix(9e8, 0).UTC()}},
		},
		&policy.Withdrawals{Meta: meta(policy.TypeWithdrawals, "default", "w"), Rounds: map[string]int{"web": 1},
			Certificates: []policy.WithdrawnCertificate{{Serial: "1f", NotAfter: time.Unix(1e9, 0).UTC(), Withdrawn: time.Unix(9e8, 0).UTC()}},
		},
	}
	for _, r := range resources {
		_, err := s.Get(t.Context(), key(r))
		refused(t, "before", err, store.ErrNotFound, key(r))
		put(t, s, r)
		if d := diff(r, get(t, s, key(r))); d != "" {
			t.Errorf("%s is not what was written %s", key(r), d)
		}
		if got := list(t, s, key(r).Type, key(r).Mesh); len(got) != 1 || diff(r, got[0]) != "" {
			t.Errorf("%s: the list is %q", key(r), keys(got))
		}
		if r.Metadata().Version != 0 || !r.Metadata().CreationTime.IsZero() {
			t.Errorf("%s: the store changed the writer's own: %+v", key(r), r.Metadata())
		}
	}
	for _, r := range resources {
		if err := store.Delete(t.Context(), s, key(r)); err != nil {
			t.Errorf("deleting: %v", err)
		}
		_, err := s.Get(t.Context(), key(r))
		refused(t, "getting what was deleted", err, store.ErrNotFound, key(r))
		refused(t, "deleting twice", store.Delete(t.Context(), s, key(r)), store.ErrNotFound, key(r))
		if got := list(t, s, key(r).Type, ""); len(got) != 0 {
			t.Errorf("%s: still listed: %q", key(r), keys(got))
		}
	}
}

func testList(t *testing.T, s store.Store) {
	put(t, s, dataplane("b", "2"), dataplane("a", "3"), dataplane("b", "1"), dataplane("ab", "0"), dataplane("c", "9"), labelled("x", "1"))
	for mesh, want := range map[string][]string{
		"": {`Dataplane "3" of mesh "a"`, `Dataplane "0" of mesh "ab"`, `Dataplane "1" of mesh "b"`, `Dataplane "2" of mesh "b"`,
			`Dataplane "9" of mesh "c"`},
		"a":    {`Dataplane "3" of mesh "a"`},
		"b":    {`Dataplane "1" of mesh "b"`, `Dataplane "2" of mesh "b"`},
		"none": {},
	} {
		if d := cmp.Diff(want, keys(list(t, s, policy.TypeDataplane, mesh))); d != "" {
			t.Errorf("mesh %q (-want +got):\n%s", mesh, d)
		}
	}
	mine := list(t, s, policy.TypeDataplane, "b")
	mine[0], mine[1] = mine[1], nil
	if got := list(t, s, policy.TypeDataplane, "b"); got[1] == nil || key(got[0]).Name != "1" {
		t.Errorf("a caller changed the store's own list")
	}
}

func testStamps(t *testing.T, s store.Store) {
	r := labelled("a", "1")
	r.CreationTime, r.ModificationTime, r.Version = time.Unix(1, 0), time.Unix(2, 0), 99
	before := time.Now().Truncate(time.Millisecond)
	put(t, s, r)
	first := get(t, s, key(r)).Metadata()
	if c := first.CreationTime; c.Before(before) || c.After(time.Now()) || c.Location() != time.UTC || c.Nanosecond()%1e6 != 0 {
		t.Errorf("created at %v, want now, in UTC and whole milliseconds", c)
	}
	if !first.ModificationTime.Equal(first.CreationTime) || first.Version == 99 || first.Version == 0 {
		t.Errorf("what the client said of version and times was not ignored: %+v", first)
	}
	for time.Since(first.CreationTime) < 2*time.Millisecond {
		time.Sleep(time.Millisecond)
	}
	put(t, s, labelled("a", "2"))
	second := get(t, s, key(r)).Metadata()
	if !second.CreationTime.Equal(first.CreationTime) || !second.ModificationTime.After(first.ModificationTime) {
		t.Errorf("changed: created %v, then %v; modified %v, then %v", first.CreationTime, second.CreationTime,
			first.ModificationTime, second.ModificationTime)
	}
}

func testVersionsGrow(t *testing.T, s store.Store) {
	var last uint64
	for i, name := range []string{"a", "b", "a", "", "a", "", "b", "a"} {
		if name == "" {
			write(t, s, store.Op{Delete: key(labelled("a", "")), Expect: store.Any})
			continue
		}
		r := labelled(name, strings.Repeat("x", i))
		put(t, s, r)
		v := get(t, s, key(r)).Metadata().Version
		if v <= last {
			t.Errorf("step %d: version %d came after %d", i, v, last)
		}
		last = v
	}
}

func testExpectations(t *testing.T, s store.Store) {
	a, b, absent := labelled("a", "1"), labelled("b", "1"), labelled("absent", "1")
	write(t, s, store.Op{Put: a, Expect: store.Absent}, store.Op{Put: b, Expect: store.Any})
	old := int64(get(t, s, key(a)).Metadata().Version)
	a = labelled("a", "2")
	write(t, s, store.Op{Put: a, Expect: old})
	now := int64(get(t, s, key(a)).Metadata().Version)

	for _, tt := range []struct {
		what string
		op   store.Op
		want error
	}{
		{"create what exists", store.Op{Put: labelled("a", "3")}, store.ErrConflict},
		{"create what exists and is the same", store.Op{Put: a}, store.ErrConflict},
		{"change an old version", store.Op{Put: labelled("a", "3"), Expect: old}, store.ErrConflict},
		{"change a version to come", store.Op{Put: labelled("a", "3"), Expect: now + 1}, store.ErrConflict},
		{"change what is gone", store.Op{Put: absent, Expect: now}, store.ErrConflict},
		{"delete an old version", store.Op{Delete: key(a), Expect: old}, store.ErrConflict},
		{"delete a version of what is gone", store.Op{Delete: key(absent), Expect: now}, store.ErrConflict},
		{"delete what is not there", store.Op{Delete: key(absent), Expect: store.Any}, store.ErrNotFound},
	} {
		k := tt.op.Delete
		if tt.op.Put != nil {
			k = key(tt.op.Put)
		}
		good := store.Op{Put: labelled("b", "2"), Expect: store.Any}
		refused(t, tt.what, s.Write(t.Context(), tt.op), tt.want, k)
		refused(t, tt.what+", first", s.Write(t.Context(), tt.op, good), tt.want, k)
		refused(t, tt.what+", last", s.Write(t.Context(), good, store.Op{Delete: key(b), Expect: store.Any}, tt.op), tt.want, k)
		if d := diff(a, get(t, s, key(a))) + diff(b, get(t, s, key(b))); d != "" {
			t.Fatalf("%s: something was written %s", tt.what, d)
		}
	}
	write(t, s, store.Op{Delete: key(a), Expect: now}, store.Op{Put: absent, Expect: store.Absent})
	if d := cmp.Diff([]string{`Secret "absent" of mesh "default"`, `Secret "b" of mesh "default"`},
		keys(list(t, s, policy.TypeSecret, ""))); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func testSequence(t *testing.T, s store.Store) {
	a := labelled("a", "1")
	write(t, s,
		store.Op{Put: a, Expect: store.Absent},
		store.Op{Delete: key(a), Expect: store.Any},
		store.Op{Put: labelled("a", "2"), Expect: store.Absent})
	if got := value(get(t, s, key(a))); got != "2" {
		t.Errorf("got %q, want what the last operation wrote", got)
	}
	write(t, s)
}

func testUnchanged(t *testing.T, s store.Store) {
	r := dataplane("default", "web-1")
	put(t, s, r)
	before := get(t, s, key(r))
	w := watch(t, s)
	next(t, w)
	again := dataplane("default", "web-1")
	again.Labels = map[string]string{} // says nothing either
	again.Version, again.CreationTime = 77, time.Now()
	created, err := store.Put(t.Context(), s, again)
	if created || err != nil {
		t.Errorf("got created %v, error %v", created, err)
	}
	if after := get(t, s, key(r)); after.Metadata().Version != before.Metadata().Version {
		t.Errorf("the version went from %d to %d", before.Metadata().Version, after.Metadata().Version)
	}
	put(t, s, labelled("mark", ""))
	if events := next(t, w); len(events) != 1 || events[0].Key.Name != "mark" {
		t.Errorf("watchers saw %v, want only what changed", events)
	}
}

// nasty are strings that mean something to databases, shells, formats and encoders.
var nasty = []string{
	`'`, `"`, `''`, `";--`, `'; DROP TABLE resources;--`, `%`, `_`, `%s%n%v`, `$1`, `${x}`, `\`, `\\`, `\n`, "\n", "\r\n", "\t",
	"\x00", "a\x00b", `\u0000`, `\ufffd`, "\ufffd", "\u2028", "<script>&amp;", "日本語", "e\u0301", "é", "\U0001f43b", "\ufeff", "\x7f", " ", "null", "~",
}

func testLiteralStrings(t *testing.T, s store.Store) {
	for _, v := range nasty {
		d := dataplane("default", "x")
		d.Labels = map[string]string{v: v}
		d.Networking = policy.Networking{
			Address: v, AdvertisedAddress: v,
			Inbound:  []policy.Inbound{{Address: v, ServiceAddress: v, State: v, Tags: map[string]string{v: v}}},
			Outbound: []policy.Outbound{{Address: v, Tags: map[string]string{v: v}}},
			Gateway:  &policy.Gateway{Type: v, Tags: map[string]string{v: v}},
		}
		p := &policy.TrafficPermission{Meta: meta(policy.TypeTrafficPermission, "default", "x")}
		p.Sources = []policy.Selector{{Match: map[string]string{v: v}}}
		m := &policy.Mesh{Meta: meta(policy.TypeMesh, "", "x"), SkipCreatingInitialPolicies: []string{v}}
		m.MTLS = &policy.MTLS{EnabledBackend: v, Backends: []policy.Backend{{Name: v, Type: v, Mode: v}}}
		secret := &policy.Secret{Meta: meta(policy.TypeSecret, "default", "x"), Data: policy.Bytes(v)}
		for _, r := range []policy.Resource{d, p, m, secret} {
			put(t, s, r)
			if diff := diff(r, get(t, s, key(r))); diff != "" {
				t.Errorf("%q in a %s came back as something else %s", v, key(r).Type, diff)
			}
		}
	}
}

func testLiteralNames(t *testing.T, s store.Store) {
	names := slices.DeleteFunc(slices.Clone(nasty), func(v string) bool { return strings.Contains(v, "\x00") }) // refused, elsewhere
	for _, v := range names {
		put(t, s, dataplane(v, v), dataplane("default", v))
	}
	for _, v := range names {
		for _, mesh := range []string{v, "default"} {
			want := policy.Key{Type: policy.TypeDataplane, Mesh: mesh, Name: v}
			if got := key(get(t, s, want)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if got := list(t, s, policy.TypeDataplane, v); len(got) != 1 || key(got[0]).Mesh != v {
			t.Errorf("mesh %q lists %q", v, keys(got))
		}
	}
	if got, want := len(list(t, s, policy.TypeDataplane, "")), 2*len(names); got != want {
		t.Errorf("%d resources, want %d", got, want)
	}
}

func testRefused(t *testing.T, s store.Store) {
	invalid := labelled("a", "a\xffb")
	unnamed := labelled("", "1")
	unknown := labelled("a", "1")
	unknown.Type = "Sercet"
	other := labelled("a", "1")
	other.Type = policy.TypeMesh
	for what, op := range map[string]store.Op{
		"nothing to do":               {},
		"two things to do":            {Put: labelled("a", "1"), Delete: key(labelled("b", "1"))},
		"delete, expecting nothing":   {Delete: key(labelled("a", "1"))},
		"not UTF-8":                   {Put: invalid},
		"a name that is not UTF-8":    {Put: labelled("a\xff", "1")},
		"a name with a NUL":           {Put: labelled("a\x00b", "1")},
		"a NUL to delete":             {Delete: key(labelled("a\x00b", "1")), Expect: store.Any},
		"no name":                     {Put: unnamed},
		"no such type":                {Put: unknown},
		"no such type to delete":      {Delete: key(unknown), Expect: store.Any},
		"the type of something else":  {Put: other},
		"a name that is far too long": {Put: labelled(strings.Repeat("x", 5000), "1")},
	} {
		err := s.Write(t.Context(), store.Op{Put: labelled("good", "1")}, op)
		if err == nil || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: got error %v", what, err)
		}
		if got := list(t, s, policy.TypeSecret, ""); len(got) != 0 {
			t.Fatalf("%s: something was written: %q", what, keys(got))
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Write(ended, store.Op{Put: labelled("a", "1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: got error %v", err)
	}
	if got := list(t, s, policy.TypeSecret, ""); len(got) != 0 {
		t.Errorf("with a context that has ended, something was written: %q", keys(got))
	}
}

func testClosed(t *testing.T, s store.Store) {
	put(t, s, labelled("a", "1"))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	_, getErr := s.Get(t.Context(), key(labelled("a", "")))
	_, listErr := s.List(t.Context(), policy.TypeSecret, "")
	_, watchErr := s.Watch(t.Context())
	_, putErr := store.Put(t.Context(), s, labelled("b", "1"))
	writeErr := s.Write(t.Context(), store.Op{Put: labelled("b", "1")})
	for what, err := range map[string]error{"Get": getErr, "List": listErr, "Watch": watchErr, "Put": putErr, "Write": writeErr} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s: got error %v, want %v", what, err, store.ErrClosed)
		}
	}
}
