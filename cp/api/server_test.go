package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"koguma/cp/api"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// signingKey is a key for all tests: to make one takes long.
var signingKey = sync.OnceValue(func() []byte {
	pem, err := token.NewKeyPEM()
	if err != nil {
		panic(err)
	}
	return pem
})

// server is an API over a store of its own.
type server struct {
	t       *testing.T
	handler http.Handler
	store   store.Store
	log     *logBuffer
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Len is how much there is, in bytes.
func (l *logBuffer) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Len()
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
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
		store.Op{Put: mesh("default"), Expect: store.Absent},
		store.Op{Put: secret("dataplane-token-signing-key-default-1", signingKey()), Expect: store.Absent},
	)
	if err != nil {
		t.Fatal(err)
	}
	cfg := settings.Default()
	for _, c := range change {
		c(&cfg)
	}
	log := new(logBuffer)
	return &server{t: t, handler: newAPI(cfg, s, log), store: s, log: log}
}

func newAPI(cfg settings.Config, s store.Store, log *logBuffer) http.Handler {
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
		key, err := token.ParseKey(signingKey())
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

// response is what came back.
type response struct {
	status int
	header http.Header
	body   string
}

func (s *server) send(r request) response {
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
	return response{w.Code, w.Header(), w.Body.String()}
}

func (s *server) get(path string) response {
	s.t.Helper()
	return s.send(request{method: "GET", path: path})
}

func (s *server) put(path, body string) response {
	s.t.Helper()
	return s.send(request{method: "PUT", path: path, body: body})
}

// mustPut puts what the test needs to be there.
func (s *server) mustPut(path, body string) {
	s.t.Helper()
	if r := s.put(path, body); r.status != 200 && r.status != 201 {
		s.t.Fatalf("PUT %s: %d %s", path, r.status, r.body)
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

// problem is the body of an error.
type problem struct {
	Type, Title, Detail, Details string
	Status                       int
	Invalid                      []struct{ Field, Reason string } `json:"invalid_parameters"`
	Causes                       []struct{ Field, Message string }
}

// wantProblem checks that the answer is a problem that says so in every way there is.
func (r response) wantProblem(t *testing.T, status int, say string) {
	t.Helper()
	if r.status != status {
		t.Errorf("status %d, want %d: %s", r.status, status, r.body)
		return
	}
	var p problem
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	if p.Status != status || p.Type != "/std-errors" || p.Title == "" || p.Detail == "" || p.Details != p.Detail || len(p.Causes) != len(p.Invalid) {
		t.Errorf("no whole problem: %s", r.body)
	}
	for i := range p.Invalid {
		if p.Causes[i].Field != p.Invalid[i].Field || p.Causes[i].Message != p.Invalid[i].Reason {
			t.Errorf("causes differ from invalid_parameters: %s", r.body)
		}
	}
	if text := strings.ReplaceAll(r.body, `\"`, `"`); !strings.Contains(text, say) {
		t.Errorf("%s does not say %q", text, say)
	}
	for _, leak := range []string{".go:", "goroutine", "/root", "/work", "/tmp", "SQLSTATE"} {
		if strings.Contains(r.body, leak) {
			t.Errorf("%s has %q in it", r.body, leak)
		}
	}
}

func mesh(name string) *policy.Mesh {
	return &policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: name}}
}

func secret(name string, data []byte) *policy.Secret {
	return &policy.Secret{Meta: policy.Meta{Type: policy.TypeSecret, Mesh: "default", Name: name}, Data: data}
}

func dataplaneJSON(name, service string) string {
	return fmt.Sprintf(`{"type":"Dataplane","mesh":"default","name":%q,"networking":{"address":"192.168.0.1",`+
		`"inbound":[{"port":8080,"servicePort":80,"tags":{"kuma.io/service":%q,"version":"1"}}]}}`, name, service)
}

const (
	webPath       = "/meshes/default/dataplanes/web-1"
	permission    = `{"type":"TrafficPermission","mesh":"default","name":"p","sources":[{"match":{"kuma.io/service":"web"}}],"destinations":[{"match":{"kuma.io/service":"backend"}}]}`
	permissionURL = "/meshes/default/traffic-permissions/p"
	mtlsOn        = `{"type":"Mesh","name":"default","mtls":{"enabledBackend":"ca-1","backends":[{"name":"ca-1","type":"builtin"}]}}`
)
