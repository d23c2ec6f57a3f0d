package api_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"koguma/cp/api"
	"koguma/cp/cptest"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// server is an API over a store of its own.
type server struct {
	t       *testing.T
	handler http.Handler
	store   store.Store
	log     *cptest.Log
}

// newServer is an API with the mesh "default" and its signing key.
func newServer(t *testing.T, change ...func(*settings.Config)) *server {
	t.Helper()
	return newServerOver(t, store.NewMemory(), change...)
}

// newServerOver is that over an empty store, which it closes.
func newServerOver(t *testing.T, s store.Store, change ...func(*settings.Config)) *server {
	t.Helper()
	t.Cleanup(func() { s.Close() })
	err := s.Write(t.Context(),
		store.Op{Put: cptest.Mesh("default"), Expect: store.Absent},
		store.Op{Put: cptest.Secret("dataplane-token-signing-key-default-1", cptest.SigningKey()), Expect: store.Absent},
	)
	if err != nil {
		t.Fatal(err)
	}
	cfg := settings.Default()
	for _, c := range change {
		c(&cfg)
	}
	log := new(cptest.Log)
	return &server{t: t, handler: newAPI(cfg, s, log), store: s, log: log}
}

func newAPI(cfg settings.Config, s store.Store, log *cptest.Log) http.Handler {
	insight := func(policy.Key) policy.DataplaneInsight {
		return policy.DataplaneInsight{Subscriptions: []policy.Subscription{{ID: "stream-1", ConnectTime: time.Unix(1, 0).UTC()}}}
	}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return api.NewAPI(cfg, s, issue(), insight, logger)
}

// issue signs with the key for all tests.
func issue() func(token.Claims) (token.Raw, error) {
	return func(c token.Claims) (token.Raw, error) {
		if c.Mesh == "keyless" {
			return "", api.ErrNoSigningKey
		}
		key, err := token.ParseKey(cptest.SigningKey())
		if err != nil {
			return "", err
		}
		return token.Sign(token.SigningKey{KID: "1", Key: key}, c)
	}
}

// sign is a token by that key.
func sign(t *testing.T, c token.Claims) string {
	t.Helper()
	c.ExpiresAt = time.Now().Add(time.Hour)
	raw, err := issue()(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// request is what a test sends. Without a content type it is JSON, without a peer it is this machine.
type request struct {
	method, path, body string
	contentType        string
	peer, host         string
	header             http.Header
	chunked            bool // the length is not announced
}

func (s *server) send(r request) cptest.Response {
	s.t.Helper()
	req := httptest.NewRequest(r.method, r.path, strings.NewReader(r.body))
	req.Host, req.RemoteAddr = "localhost:5681", "127.0.0.1:40000"
	if r.host != "" {
		req.Host = r.host
	}
	if r.peer != "" {
		req.RemoteAddr = r.peer
	}
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", strings.TrimPrefix(r.contentType, "none"))
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if r.chunked {
		req.ContentLength = -1
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, req)
	return cptest.Response{Status: w.Code, Header: w.Header(), Body: w.Body.String()}
}

func (s *server) get(path string) cptest.Response {
	s.t.Helper()
	return s.send(request{method: "GET", path: path})
}

func (s *server) put(path, body string) cptest.Response {
	s.t.Helper()
	return s.send(request{method: "PUT", path: path, body: body})
}

// mustPut puts what the test needs to be there.
func (s *server) mustPut(path, body string) {
	s.t.Helper()
	if r := s.put(path, body); r.Status != 200 && r.Status != 201 {
		s.t.Fatalf("PUT %s: %d %s", path, r.Status, r.Body)
	}
}

// contents is everything in the store, the content of secrets too.
func (s *server) contents() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for _, t := range []policy.Type{policy.TypeMesh, policy.TypeDataplane, policy.TypeTrafficPermission, policy.TypeMeshTrafficPermission, policy.TypeSecret, policy.TypeGlobalSecret} {
		rs, err := s.store.List(context.Background(), t, "")
		if err != nil {
			s.t.Fatal(err)
		}
		for _, r := range rs {
			text, err := policy.Encode(r)
			if err != nil {
				s.t.Fatal(err)
			}
			all[r.Metadata().Key().String()] = fmt.Sprintf("%d %s", r.Metadata().Version, text)
		}
	}
	return all
}

func dataplaneJSON(name, service string) string {
	return fmt.Sprintf(`{"type":"Dataplane","mesh":"default","name":%q,"networking":{"address":"192.168.0.1",`+
		`"inbound":[{"port":8080,"servicePort":80,"tags":{"kuma.io/service":%q,"version":"1"}}]}}`, name, service)
}

const (
	webPath       = "/meshes/default/dataplanes/web-1"
	permissionURL = "/meshes/default/traffic-permissions/p"
	mtlsOn        = `{"type":"Mesh","name":"default","mtls":{"enabledBackend":"ca-1","backends":[{"name":"ca-1","type":"builtin"}]}}`
)
