package cptest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Response is what the API answered.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// problem is the body of an error.
type problem struct {
	Type, Title, Detail, Details string
	Status                       int
	Invalid                      []struct{ Field, Reason string } `json:"invalid_parameters"`
	Causes                       []struct{ Field, Message string }
}

// WantProblem checks that the answer is a problem that says so in every way there is.
func (r Response) WantProblem(t *testing.T, status int, say string) {
	t.Helper()
	if r.Status != status {
		t.Errorf("status %d, want %d: %s", r.Status, status, r.Body)
		return
	}
	var p problem
	if err := json.Unmarshal([]byte(r.Body), &p); err != nil {
		t.Fatalf("%v in %s", err, r.Body)
	}
	if p.Status != status || p.Type != "/std-errors" || p.Title == "" || p.Detail == "" || p.Details != p.Detail || len(p.Causes) != len(p.Invalid) {
		t.Errorf("no whole problem: %s", r.Body)
	}
	for i := range p.Invalid {
		if p.Causes[i].Field != p.Invalid[i].Field || p.Causes[i].Message != p.Invalid[i].Reason {
			t.Errorf("causes differ from invalid_parameters: %s", r.Body)
		}
	}
	if text := strings.ReplaceAll(r.Body, `\"`, `"`); !strings.Contains(text, say) {
		t.Errorf("%s does not say %q", text, say)
	}
	for _, leak := range []string{".go:", "goroutine", "/root", "/work", "/tmp", "SQLSTATE"} {
		if strings.Contains(r.Body, leak) {
			t.Errorf("%s has %q in it", r.Body, leak)
		}
	}
}
