package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// oddTexts mean something to SQL, to patterns, to a shell or to C. Some places take one of these characters and not the others.
func oddTexts() []string { return []string{`'";--%_$1\u0000`, "%", "_", "\x00", "\u2028"} }

// fullResource is a resource with something in each field that has a text, and where it belongs.
type fullResource struct{ path, body string }

// fullResources has each kind, and each form of it.
func fullResources() []fullResource {
	const dataplane = `"networking":{"address":"192.168.0.1","advertisedAddress":"192.168.0.2",%s` +
		`"outbound":[{"address":"127.0.0.2","port":1,"tags":{"kuma.io/service":"b","v":"x"}}]}`
	const match = `[{"match":{"kuma.io/service":"a","v":"*"}}]`
	tags := `"tags":{"kuma.io/service":"a","kuma.io/zone":"default","kuma.io/protocol":"http","v":"x"}`
	in := func(collection, kind, body string) fullResource {
		path := "/meshes/default/" + collection + "/odd"
		return fullResource{path, fmt.Sprintf(`{"type":%q,"mesh":"default","name":"odd","labels":{"l":"x"},%s}`, kind, body)}
	}
	mesh := func(backend string) fullResource {
		return fullResource{"/meshes/odd", `{"type":"Mesh","name":"odd","labels":{"l":"x"},"mtls":{"backends":[` + backend + `]},"constraints":{` +
			`"dataplaneProxy":{"requirements":[{"tags":{"v":"x"}}],"restrictions":[{"tags":{"v":"y"}}]}},"skipCreatingInitialPolicies":["*"]}`}
	}
	ref := func(fields string) string { return `"targetRef":{` + fields + `}` }
	from := func(target, source string) string {
		return `"spec":{` + ref(target) + `,"from":[{` + ref(source) + `,"default":{"action":"Allow"}}]}`
	}
	id := `[{"spiffeID":{"type":"Exact","value":"spiffe://default/a"}}]`
	return []fullResource{
		mesh(`{"name":"b","type":"builtin","mode":"STRICT","dpCert":{"rotation":{"expiration":"1h"},"requestTimeout":"5s"},` +
			`"rootChain":{"requestTimeout":"5s"},"conf":{"caCert":{"expiration":"48h"}}}`),
		in("dataplanes", "Dataplane", fmt.Sprintf(dataplane, `"inbound":[{"port":80,"servicePort":81,"serviceAddress":"127.0.0.1",`+
			`"address":"192.168.0.3","state":"Ready",`+tags+`}],`)),
		in("dataplanes", "Dataplane", fmt.Sprintf(dataplane, `"gateway":{"type":"DELEGATED",`+tags+`},`)),
		in("traffic-permissions", "TrafficPermission", `"sources":`+match+`,"destinations":`+match),
		in("meshtrafficpermissions", "MeshTrafficPermission", from(`"kind":"Dataplane","labels":{"l":"x"},"sectionName":"80","proxyTypes":["Sidecar"]`,
			`"kind":"MeshSubset","tags":{"v":"x"}`)),
		in("meshtrafficpermissions", "MeshTrafficPermission", from(`"kind":"MeshService","name":"a"`, `"kind":"MeshServiceSubset","name":"a","tags":{"v":"x"}`)),
		in("meshtrafficpermissions", "MeshTrafficPermission", `"spec":{"rules":[{"default":{"allow":`+id+`,"deny":`+id+`,"allowWithShadowDeny":`+id+`}}]}`),
		in("secrets", "Secret", `"data":"eA=="`),
		{"/globalsecrets/odd", `{"type":"GlobalSecret","name":"odd","labels":{"l":"x"},"data":"eA=="}`},
	}
}

// textIsKeptOrRefused puts odd texts in every place there is. Either nobody takes one, or it comes back as it was.
func textIsKeptOrRefused(t *testing.T, all stores) {
	kept := 0
	for _, full := range fullResources() {
		r := all.send(t, request{method: "PUT", path: full.path, body: full.body})
		if r.Status != 200 && r.Status != 201 {
			t.Fatalf("%s: %d %s", full.body, r.Status, r.Body)
		}
		for _, odd := range oddTexts() {
			for _, changed := range oddVariants(decoded(t, full.body), odd) {
				body := encoded(t, changed)
				r := all.send(t, request{method: "PUT", path: full.path, body: body})
				if r.Status != 200 {
					r.WantProblem(t, 400, "")
					continue
				}
				kept++
				for name, s := range all {
					if diff := cmp.Diff(changed, withoutTimes(decoded(t, s.get(full.path).Body))); diff != "" {
						t.Errorf("%s over %s: %s", body, name, diff)
					}
				}
			}
		}
	}
	if kept < 50 {
		t.Errorf("%d odd texts were kept: were they where one can be?", kept)
	}
	for _, odd := range oddTexts() {
		for _, filter := range []string{"name=", "tag=v:", "filter[labels.l]="} {
			r := all.send(t, request{method: "GET", path: "/meshes/default/dataplanes?" + filter + url.QueryEscape(odd)})
			if r.Status != 200 || !strings.HasPrefix(r.Body, `{"total":0,`) {
				t.Errorf("%s%q is a pattern: %d %s", filter, odd, r.Status, r.Body)
			}
		}
	}
}

// oddVariants are copies of v, each with the odd text in the middle of another string or name of a field.
func oddVariants(v any, odd string) []any {
	var all []any
	switch v := v.(type) {
	case string:
		return []any{v[:len(v)/2] + odd + v[len(v)/2:]}
	case []any:
		for i := range v {
			for _, element := range oddVariants(v[i], odd) {
				changed := slices.Clone(v)
				changed[i] = element
				all = append(all, changed)
			}
		}
	case map[string]any:
		for key := range v {
			for _, value := range oddVariants(v[key], odd) {
				changed := maps.Clone(v)
				changed[key] = value
				all = append(all, changed)
			}
			changed := maps.Clone(v)
			delete(changed, key)
			changed[key+odd] = v[key]
			all = append(all, changed)
		}
	}
	return all
}

func withoutTimes(v any) any {
	m, ok := v.(map[string]any)
	if ok {
		delete(m, "creationTime")
		delete(m, "modificationTime")
	}
	return v
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
