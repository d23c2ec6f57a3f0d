package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// What answers in the place of a control plane may be anything. The error says what it was and never shows it raw.
func TestStrangeAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"a web page": {
			func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
			"does not answer as a control plane does",
		},
		"nothing": {
			func(http.ResponseWriter, *http.Request) {},
			"does not answer as a control plane does",
		},
		"an error page": {
			func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusNotFound) },
			"answers 404 Not Found, but not as a control plane does",
		},
		"a redirect": {
			func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/meshes/x" {
					t.Errorf("it was followed to %s", r.URL)
				}
				http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			},
			"answers 307 Temporary Redirect",
		},
		"a problem": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				io.WriteString(w, `{"title":"Bad","detail":"not valid","invalid_parameters":[{"field":"name","reason":"\u001b[2Jtoo long"}]}`)
			},
			"Error: Bad (not valid)\n* name: \\x1b[2Jtoo long\n",
		},
		"a problem with its mesh": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusNotFound)
				io.WriteString(w, `{"title":"Failed to retrieve Mesh","detail":"there is no mesh \"x\""}`)
			},
			`Error: Failed to retrieve Mesh (there is no mesh "x")`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := kumactl(t, serveFunc(t, test.answer), "get", "mesh", "x")
			if got.code != 1 || !strings.Contains(got.stderr, test.want) {
				t.Errorf("exit code %d, stderr %q; want 1, %q", got.code, got.stderr, test.want)
			}
			if strings.Contains(got.stderr, "\x1b") {
				t.Errorf("stderr has a raw escape: %q", got.stderr)
			}
		})
	}
}

// Memory stays bounded, whatever answers.
func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	address := serveFunc(t, func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<20)
		for {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	got := kumactl(t, address, "get", "meshes")
	if want := "answered with more than 64 MiB"; got.code != 1 || !strings.Contains(got.stderr, want) {
		t.Errorf("exit code %d, stderr %q; want 1, %q", got.code, got.stderr, want)
	}
}

func TestSilentControlPlane(t *testing.T) {
	t.Parallel()
	address := serveFunc(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	got := kumactl(t, address, "get", "meshes", "--api-timeout", "10ms")
	if want := "did not answer within 10ms (--api-timeout)"; got.code != 1 || !strings.Contains(got.stderr, want) {
		t.Errorf("exit code %d, stderr %q; want 1, %q", got.code, got.stderr, want)
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	address := serveFunc(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	var stderr strings.Builder
	c := &cli{stderr: &stderr}
	cp, err := c.clientOf(target{apiServer: apiServer{URL: address}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cp.index(ctx); err == nil || err.Error() != "interrupted" {
		t.Errorf("got %v, want interrupted", err)
	}
}

// Who forgot to start the control plane is told so, and where it was looked for.
func TestNoControlPlane(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String()
	l.Close()
	got := kumactl(t, address, "get", "meshes")
	for _, want := range []string{address, "kuma-cp run", "kumactl config control-planes add"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("stderr does not name %s: %q", want, got.stderr)
		}
	}
	if got.code != 1 {
		t.Errorf("exit code %d, want 1", got.code)
	}
}

// What kumactl is told about its requests holds nothing of what they carry.
func TestDebugLog(t *testing.T) {
	t.Parallel()
	address := serve(t, map[string]string{"GET /meshes/default/secrets/s": `{"type":"Secret","mesh":"default","name":"s","data":"Y2FuYXJ5"}`})
	got := kumactl(t, address, "get", "secret", "s", "--log-level", "debug")
	if !strings.Contains(got.stderr, "status=200") {
		t.Errorf("stderr has no request: %q", got.stderr)
	}
	if strings.Contains(got.stderr, "Y2FuYXJ5") || strings.Contains(got.stderr, "canary") {
		t.Errorf("stderr has the secret: %q", got.stderr)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"http://localhost:5681", "https://cp.example", "http://[::1]:5681/base"} {
		if _, err := parseAddress(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "localhost:5681", "ftp://x", "http://", "http://:5681", "http://u:p@x", "http://x?y", "http://x#y", "file:///etc/passwd"} {
		if _, err := parseAddress(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A base path stays in front.
func TestBasePath(t *testing.T) {
	t.Parallel()
	address := serve(t, map[string]string{"GET /kuma/meshes": `{"total":0,"items":[],"next":null}`})
	if got := kumactl(t, address+"/kuma/", "get", "meshes"); got.code != 0 {
		t.Error(got.stderr)
	}
}

// What a control plane warns of is shown, also where the answer is a problem, and never raw.
func TestWarningsAreShown(t *testing.T) {
	t.Parallel()
	for status, body := range map[int]string{http.StatusOK: `{"total":0,"items":[],"next":null}`, http.StatusNotFound: `{"title":"Gone"}`} {
		got := kumactl(t, serveFunc(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Add("Koguma-Warning", "this is old")
			w.Header().Add("Koguma-Warning", "so\u009b is this")
			w.WriteHeader(status)
			io.WriteString(w, body)
		}), "get", "meshes")
		if !strings.Contains(got.stderr, "this is old\n") || !strings.Contains(got.stderr, "is this\n") || strings.Contains(got.stderr, "\u009b") {
			t.Errorf("status %d: stderr %q", status, got.stderr)
		}
	}
}
