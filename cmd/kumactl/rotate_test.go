package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
	"koguma/token"
)

// keyholder is a control plane with the signing keys of a mesh, and proxies that are connected by tokens of them.
type keyholder struct {
	mu   sync.Mutex
	down []string // proxies that are not connected
	keys []int
	uses []string // as JSON
	late func()   // happens when the tokens were looked at
}

func (k *keyholder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	const prefix = "/meshes/default/secrets/dataplane-token-signing-key-default-"
	switch r.Method + " " + strings.TrimRight(r.URL.Path, "0123456789") {
	case "GET /meshes/default/signing-keys":
		var items []string
		for _, n := range k.keys {
			items = append(items, fmt.Sprintf(`{"name":"dataplane-token-signing-key-default-%d","serial":%d,"signs":false}`, n, n))
		}
		fmt.Fprintf(w, `{"total":%d,"items":[%s],"next":null}`, len(items), strings.Join(items, ","))
	case "POST /meshes/default/signing-keys":
		body, _ := io.ReadAll(r.Body)
		if newest := slices.Max(append(k.keys, 0)); string(body) == fmt.Sprintf(`{"after":%d}`, newest) {
			k.keys = append(k.keys, newest+1)
		}
		fmt.Fprintf(w, `{"name":"n","serial":%d,"signs":true}`, slices.Max(k.keys))
	case "GET /meshes/default/dataplane-tokens":
		fmt.Fprintf(w, `{"total":%d,"items":[%s],"next":null}`, len(k.uses), strings.Join(k.uses, ","))
		if k.late != nil {
			k.late()
		}
	case "GET /meshes/default/dataplanes":
		items := []string{`{"type":"Dataplane","mesh":"default","name":"web-1"}`}
		for _, name := range k.down {
			items = append(items, fmt.Sprintf(`{"type":"Dataplane","mesh":"default","name":%q}`, name))
		}
		fmt.Fprintf(w, `{"total":%d,"items":[%s],"next":null}`, len(items), strings.Join(items, ","))
	case "DELETE " + prefix:
		i := slices.IndexFunc(k.keys, func(n int) bool { return r.URL.Path == fmt.Sprint(prefix, n) })
		if i < 0 {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"status":404,"title":"Could not delete a resource","detail":"not found"}`)
			return
		}
		k.keys = slices.Delete(k.keys, i, i+1)
		io.WriteString(w, "{}")
	default:
		w.WriteHeader(http.StatusTeapot)
	}
}

// use is how a proxy is connected.
func use(proxy, jti string, kid int, bounds string) string {
	return fmt.Sprintf(`{"mesh":"default","proxy":%q,"jti":%q,"kid":"%d","iat":"2026-01-01T00:00:00Z","exp":"2026-01-31T00:00:05Z","bounds":%s,"admitted":true}`,
		proxy, jti, kid, bounds)
}

func TestRotate(t *testing.T) {
	t.Parallel()
	old := []string{use("api-1", "a", 1, `{"name":"api-1"}`), use("web-1", "b", 1, `{}`), use("web-2", "b", 1, `{}`), use("web-3", "c", 2, `{}`)}
	done := []string{use("api-1", "d", 2, `{}`), use("web-1", "e", 7, `{}`)}
	for name, test := range map[string]struct {
		keys  []int
		uses  []string
		flags string
		code  int
		then  []int
		say   []string
	}{
		"nobody":           {[]int{1}, nil, "", 0, []int{2}, []string{"signing key 2 of mesh \"default\" signs", "deleted signing key 1 ", "Warning: a proxy that is not connected"}},
		"somebody":         {[]int{1}, old, "", 1, []int{1, 2}, []string{"3 proxies live on an older one", "3 proxies live on signing key 1 of mesh \"default\", so nothing was deleted", "run this again: kumactl rotate signing-key --mesh default"}},
		"somebody, again":  {[]int{1, 2}, old, "", 1, []int{1, 2}, []string{"signing key 1 of mesh"}},
		"one":              {[]int{1, 2}, old[:1], "", 1, []int{1, 2}, []string{"1 proxy lives on signing key 1"}},
		"all have theirs":  {[]int{1, 2}, done, "", 0, []int{2}, []string{"deleted signing key 1 "}},
		"by force":         {[]int{1}, old, "--force", 0, []int{2}, []string{"3 proxies live on an older one", "deleted signing key 1 "}},
		"several old ones": {[]int{3, 9, 10}, nil, "", 0, []int{10}, []string{"token of signing keys 3, 9 needs", "deleted signing key 3 ", "deleted signing key 9 "}},
		"none":             {nil, nil, "", 0, []int{1}, []string{"signing key 1 of mesh"}},
	} {
		k := &keyholder{keys: test.keys, uses: test.uses}
		got := kumactl(t, serveFunc(t, k.ServeHTTP), strings.Fields("rotate signing-key --mesh default "+test.flags)...)
		if got.code != test.code {
			t.Errorf("%s: exit code %d, want %d", name, got.code, test.code)
		}
		if diff := cmp.Diff(test.then, k.keys); diff != "" {
			t.Errorf("%s: keys %s", name, diff)
		}
		for _, say := range test.say {
			if !strings.Contains(got.stdout+got.stderr, say) {
				t.Errorf("%s: does not say %q:\n%s%s", name, say, got.stdout, got.stderr)
			}
		}
	}
}

// Whoever shares a token gets one command, and it makes a token for the same and as long.
func TestRotateShowsCommands(t *testing.T) {
	t.Parallel()
	k := &keyholder{keys: []int{1, 2}, uses: []string{
		use("web-2", "b", 1, `{"tags":{"kuma.io/service":["web","web-admin"],"v":["it's"]},"type":"dataplane"}`),
		use("web-1", "b", 1, `{"tags":{"kuma.io/service":["web","web-admin"],"v":["it's"]},"type":"dataplane"}`),
		use("api-1", "a", 1, `{"name":"api-1"}`),
	}}
	got := kumactl(t, serveFunc(t, k.ServeHTTP), "rotate", "signing-key")
	want := `
  # api-1
  kumactl generate dataplane-token --mesh default --name api-1 --valid-for 720h > TOKEN-FILE
  # web-2, web-1
  kumactl generate dataplane-token --mesh default --tag kuma.io/service=web,web-admin --tag 'v=it'\''s' --type dataplane --valid-for 720h > TOKEN-FILE
`
	if !strings.Contains(got.stdout, want) {
		t.Errorf("got %s, want %s", got.stdout, want)
	}
	if !strings.Contains(got.stdout, "web-2   b     1     2026-01-31 00:00:05 (") {
		t.Errorf("no table: %s", got.stdout)
	}
}

// Who is known and not connected is named: nobody can tell which token it has.
func TestRotateNamesTheUnseen(t *testing.T) {
	t.Parallel()
	connected := []string{use("web-1", "a", 2, `{}`)}
	for want, down := range map[string][]string{
		"cannot be seen; one with":                       nil,
		"cannot be seen (such as web-2, web-3); one":     {"web-2", "web-3"},
		"(such as a, b, c, d, e, f, g, h, i, j, 2 more)": strings.Split("abcdefghijkl", ""),
	} {
		k := &keyholder{keys: []int{1, 2}, uses: connected, down: down}
		got := kumactl(t, serveFunc(t, k.ServeHTTP), "rotate", "signing-key")
		if got.code != 0 || !strings.Contains(got.stderr, want) {
			t.Errorf("%v: exit code %d, %q; want %q", down, got.code, got.stderr, want)
		}
	}
}

// A key that somebody else deletes at the same time is deleted.
func TestRotateWithSomebodyElse(t *testing.T) {
	t.Parallel()
	k := &keyholder{keys: []int{1, 2, 3}}
	k.late = func() { k.keys = []int{3} }
	got := kumactl(t, serveFunc(t, k.ServeHTTP), "rotate", "signing-key")
	if got.code != 0 || len(k.keys) != 1 {
		t.Errorf("exit code %d, keys %v: %s", got.code, k.keys, got.stderr)
	}
}

func TestShortest(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		720 * time.Hour: "720h", time.Hour: "1h", 90 * time.Minute: "1h30m", 20 * time.Minute: "20m", 0: "1m", token.MaxLife: "87600h",
	} {
		if got := shortest(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestTokenTable(t *testing.T) {
	t.Parallel()
	var all []policy.TokenUse
	for _, text := range []string{
		use("web-1", "a", 1, `{"name":"web-1","tags":{"kuma.io/service":["web"]},"type":"dataplane"}`),
		strings.Replace(use("web-2", "b", 2, `{}`), `"admitted":true`, `"admitted":false,"reason":"it is revoked"`, 1),
	} {
		var u policy.TokenUse
		if err := policy.DecodeOpen([]byte(text), &u); err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	var out strings.Builder
	if err := tokenTable(all, time.Date(2026, 1, 30, 21, 0, 5, 0, time.UTC)).write(&out); err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for line := range strings.Lines(out.String()) {
		got = append(got, split(line))
	}
	want := [][]string{
		{"MESH", "PROXY", "JTI", "KID", "EXPIRES", "NAME", "TAGS", "TYPE", "ADMITTED"},
		{"default", "web-1", "a", "1", "2026-01-31 00:00:05 (in 3h)", "web-1", "kuma.io/service=web", "dataplane", "yes"},
		{"default", "web-2", "b", "2", "2026-01-31 00:00:05 (in 3h)", "-", "-", "-", "no: it is revoked"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := expiry(all[0].ExpiresAt, all[0].ExpiresAt.Add(time.Hour)); got != "2026-01-31 00:00:05 (1h ago)" {
		t.Error(got)
	}
}
