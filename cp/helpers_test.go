package cp_test

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"koguma/policy"
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

// response is what came back.
type response struct {
	status int
	header http.Header
	body   string
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

const permission = `{"type":"TrafficPermission","mesh":"default","name":"p","sources":[{"match":{"kuma.io/service":"web"}}],"destinations":[{"match":{"kuma.io/service":"backend"}}]}`

func secretJSON(name string, data []byte) string {
	return fmt.Sprintf(`{"type":"Secret","mesh":"default","name":%q,"data":%q}`, name, base64.StdEncoding.EncodeToString(data))
}

// keyName is the name of a signing key of the mesh "default".
func keyName(serial any) string { return fmt.Sprintf("dataplane-token-signing-key-default-%v", serial) }

func newKey(t *testing.T) []byte {
	t.Helper()
	pem, err := token.NewKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return pem
}

// oneKey is the key for everything.
type oneKey struct{ key *rsa.PublicKey }

func (k oneKey) Key(string, string) (*rsa.PublicKey, error) { return k.key, nil }

// audited is the lines of the audit log since the log was that long.
func audited(log *logBuffer, since int) []string {
	var lines []string
	for line := range strings.SplitSeq(log.String()[since:], "\n") {
		if strings.Contains(line, "msg=audit") {
			lines = append(lines, line)
		}
	}
	return lines
}

// wantLine checks that a request has left one line, with all of these in it.
func wantLine(t *testing.T, lines []string, want ...string) {
	t.Helper()
	if len(lines) != 1 {
		t.Errorf("%d lines, want one with %q: %q", len(lines), want, lines)
		return
	}
	for _, w := range want {
		if !strings.Contains(lines[0]+" ", w+" ") {
			t.Errorf("no %q in %s", w, lines[0])
		}
	}
}
