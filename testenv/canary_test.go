package testenv_test

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"koguma/policy"
	"koguma/store"
	"koguma/testenv"
	"koguma/token"
)

// No token and no key is in a log, in what Envoy shows of its configuration, in a file, in an argument list or in an
// environment, in an answer of the API or among the metrics. What else may have them: the files that a person made, and
// the store.
func TestNoSecretGetsOut(t *testing.T) {
	t.Parallel()
	m, backend, web := pair(t, testenv.Options{})
	key := newSigningKey(t)
	m.Apply("type: Secret\nmesh: default\nname: dataplane-token-signing-key-default-2\ndata: " +
		base64.StdEncoding.EncodeToString(key) + "\n")
	later := m.Start(testenv.Proxy{Serves: []string{"later"}, Dials: []string{"backend"}})[0] // by the second key
	agents := []*testenv.Sidecar{backend, web, later}
	lone := m.Token("default", "lone-1", "lone")

	places := testenv.Places{Data: map[string][]byte{}, PIDs: []int{m.CP.PID()}}
	needles := slices.Concat(testenv.KeyMarks(), tokenMarks(lone))
	for _, a := range agents {
		needles = append(needles, tokenMarks(a.Token)...)
		places.PIDs = append(append(places.PIDs, a.PID()), testenv.Descendants(a.PID())...)
		for _, path := range []string{"/config_dump?include_eds", "/certs", "/server_info", "/clusters", "/listeners", "/stats", "/stats/prometheus", "/runtime"} {
			dump, err := a.Admin(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			places.Data[path+" of "+a.Dataplane.Name] = []byte(dump)
		}
		_, metrics, err := testenv.Get(t.Context(), "http://"+strings.Replace(readiness(t, a), "/ready", "/metrics", 1))
		if err != nil {
			t.Fatal(err)
		}
		places.Data["metrics of "+a.Dataplane.Name] = []byte(metrics)
	}
	provoke(t, m, places.Data, lone, key)
	for _, a := range agents {
		if err := a.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
		places.Data["log of "+a.Dataplane.Name] = []byte(a.Output())
	}
	if err := m.CP.Stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	places.Data["log of kuma-cp"] = []byte(m.CP.Output())
	kept := filepath.Join(m.Dir(), "cp", "koguma.db")
	needles = append(needles, keyMarks(t, kept)...)

	own := []string{filepath.Join(m.Dir(), "files"), kept}
	if found, _, err := testenv.FindSecret(testenv.Places{Dirs: own}, needles...); err != nil || len(found) < 5 {
		t.Fatalf("the search does not even find what is there: %v, %v", found, err)
	}
	places.Dirs, places.Except = []string{m.Dir()}, own
	found, looked, err := testenv.FindSecret(places, needles...)
	if err != nil || len(found) > 0 {
		t.Errorf("found in %v, %v", found, err)
	}
	if looked < 60 {
		t.Errorf("looked at %d things only", looked)
	}
}

// tokenMarks are what a token is known by: all of it, and its signature.
func tokenMarks(raw token.Raw) []string {
	return []string{string(raw), string(raw[strings.LastIndexByte(string(raw), '.')+1:])}
}

// keyMarks are pieces of the private keys that the control plane keeps: each a piece of its DER, and one of its PEM, which
// is base64 of that and may be so again.
func keyMarks(t *testing.T, path string) []string {
	t.Helper()
	s, err := store.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var marks []string
	add := func(data []byte) {
		if block, _ := pem.Decode(data); block != nil && strings.HasSuffix(block.Type, "PRIVATE KEY") {
			// Both begin in a line of the PEM, and have of the secret part of the key.
			secret := block.Bytes[48:72]
			if len(block.Bytes) > 1000 { // RSA
				secret = block.Bytes[288:312]
			}
			marks = append(marks, string(secret), base64.StdEncoding.EncodeToString(secret))
		}
	}
	for _, typ := range []policy.Type{policy.TypeSecret, policy.TypeGlobalSecret} {
		list, err := s.List(t.Context(), typ, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			switch r := r.(type) {
			case *policy.Secret:
				add(r.Data)
			case *policy.GlobalSecret:
				add(r.Data)
			}
		}
	}
	if len(marks) != 8 {
		t.Fatalf("the store has %d private keys, want 4: two that sign tokens, the mesh's CA, our own", len(marks)/2)
	}
	return marks
}

// question is a request to the control plane.
type question struct{ method, url, body string }

// provoke asks the control plane for all that it shows, and for much that it refuses, each time with a secret in hand, and
// collects the answers.
func provoke(t *testing.T, m *testenv.Mesh, answers map[string][]byte, raw token.Raw, key []byte) {
	t.Helper()
	pinned, err := testenv.PinnedTLS(raw)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: pinned, DisableKeepAlives: true}}
	for i, q := range questions(m, string(raw), base64.StdEncoding.EncodeToString(key)) {
		req, err := http.NewRequestWithContext(t.Context(), q.method, q.url, strings.NewReader(q.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+string(raw))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if refused := resp.StatusCode >= 400; refused != (q.body != "") {
			t.Errorf("%s %s, question %d: %s %s", q.method, q.url, i, resp.Status, body)
		}
		answers[fmt.Sprintf("answer %d, to %s %s", i, q.method, q.url)] = fmt.Append(body, resp.Header)
	}
}

// questions are those that are answered, without a body, and those that are refused, with one.
func questions(m *testenv.Mesh, raw, key string) []question {
	var all []question
	for _, path := range []string{
		"/", "/config", "/catalog", "/meshes", "/meshes/default", "/meshes/default/dataplanes", "/meshes/default/dataplanes/_overview",
		"/meshes/default/dataplanes/web-1/_overview", "/meshes/default/traffic-permissions", "/meshes/default/secrets", "/secrets",
		"/meshes/default/secrets/default.ca-builtin-cert-ca-1", "/meshes/default/secrets/dataplane-token-signing-key-default-1",
	} {
		all = append(all, question{"GET", m.CP.API + path, ""})
	}
	all = append(all, question{"GET", m.CP.Diagnostics + "/metrics", ""}, question{"GET", m.CP.Diagnostics + "/ready", ""})
	secret := func(name, data string) question {
		return question{"PUT", m.CP.API + "/meshes/default/secrets/" + name,
			fmt.Sprintf(`{"type": "Secret", "mesh": "default", "name": %q, "data": %s}`, name, data)}
	}
	// The newest signing key may not be replaced, nor may the CA; and these are no keys.
	all = append(all,
		secret("dataplane-token-signing-key-default-2", `"`+key+`=="`),
		secret("dataplane-token-signing-key-default-3", `"`+base64.StdEncoding.EncodeToString([]byte(raw))+`"`),
		secret("dataplane-token-signing-key-other-1", `"`+key+`"`),
		secret("default.ca-builtin-key-ca-1", `"`+key+`"`),
		secret("x", `"`+key+`", "data": "`+key+`"`),
		secret("x", `["`+key+`"]`),
		secret("x", `"`+raw+`"`),
		secret("x", `"`+key),
	)
	for _, body := range []string{
		`{"mesh": "default", "dataplaneToken": "` + raw + `"}`,
		`{"mesh": "default", "name": "web-1", "proxyType": "` + raw + `", "workdir": "/tmp"}`,
		`{"mesh": "default", "name": "web-1", "workdir": "/tmp", "dataplaneToken": "` + raw + `"}`,
		`{"mesh": "default", "name": "web-1", "workdir": "/tmp", "dataplaneToken": "` + raw + `x"}`,
		`{"mesh": "default", "name": "web-1", "workdir": "/tmp", "dataplaneToken": "` + raw + `", "dataplaneResource": "` + raw + `"}`,
		`{"dataplaneToken": "` + raw,
	} {
		all = append(all, question{"POST", m.CP.DP + "/bootstrap", body})
	}
	return append(all,
		question{"POST", m.CP.API + "/tokens/dataplane", `{"mesh": "default", "token": "` + raw + `"}`},
		question{"POST", m.CP.API + "/tokens/dataplane", `{"mesh": "none", "name": "web-1"}`},
		question{"POST", m.CP.API + "/tokens/dataplane", raw},
	)
}
