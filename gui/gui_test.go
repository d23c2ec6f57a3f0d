package gui_test

import (
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each file of the page is sent as what it is, and with what keeps the page to itself.
func TestFiles(t *testing.T) {
	t.Parallel()
	s := newServer(newWorld())
	entries, err := os.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	for _, e := range entries {
		send, err := s.File(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		send(w)
		if want := kinds[filepath.Ext(e.Name())]; want == "" || w.Header().Get("Content-Type") != want {
			t.Errorf("%s is sent as %s", e.Name(), w.Header().Get("Content-Type"))
		}
		for header, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'",
			"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "no-referrer",
		} {
			if got := w.Header().Get(header); !strings.HasPrefix(got, want) {
				t.Errorf("%s of %s is %q", header, e.Name(), got)
			}
		}
	}
	for _, name := range []string{"none", "../gui.go", "..", ".", "/etc/passwd", "page"} {
		if _, err := s.File(name); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) && err == nil {
			t.Errorf("%q is sent", name)
		}
	}
}

// Nothing in the page comes from elsewhere, and nothing in it takes text for HTML or for a program.
func TestPageIsItsOwn(t *testing.T) {
	t.Parallel()
	foreign := regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc|\beval\(|new Function|` +
		`https?://[^$]|@import|url\(|<script>|<style|\sstyle=|\son[a-z]+="`)
	own := regexp.MustCompile(`(?:from|href=|src=) ?"(?:/gui|\.)/([^"]+)"`)
	files, err := filepath.Glob("page/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), `xmlns="http://www.w3.org/2000/svg"`, "")
		text = strings.ReplaceAll(text, `"http://localhost:5681/gui"`, "") // said, not followed
		if found := foreign.FindString(text); found != "" {
			t.Errorf("%s has %s", file, found)
		}
		for _, m := range own.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("page", m[1])); err != nil {
				t.Errorf("%s asks for %s, which is not there", file, m[1])
			}
		}
	}
}
