// Package gui is the page at /gui: what a control plane knows of a mesh, for people to look at, as it changes.
//
// A [Server] serves the files of the page, which are part of the program, and to each page that is open one stream of
// server-sent events. It reads and never writes. What it shows comes from a [Source], and holds no token, no key and no id of
// one; who may look is for the caller to decide, and so is who may see what was refused.
//
// The page does not ask again and again: the server looks, once for all pages that show a mesh, for a tenth of one core's time
// at most, and not at all while no page is open. A page is sent what has changed, and none is waited for.
package gui

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"sync"
)

//go:embed page
var files embed.FS

// MaxStreams is how many pages may be open at once: as many of administrators, and as many of others, who therefore cannot keep
// them out.
const MaxStreams = 32

// ErrTooMany says that as many pages are open as may be.
var ErrTooMany = errors.New("as many pages are open as may be; close one, or try again later")

// Source knows what there is to show.
type Source interface {
	// Look is how a mesh is now. For "" it is the mesh "default" or, where there is none, the first by name.
	Look(ctx context.Context, mesh string) (*State, error)
}

// Server serves the page. It starts no goroutine: all it does, it does in those of requests.
type Server struct {
	source Source
	log    *slog.Logger

	mu      sync.Mutex
	streams map[bool]int     // that are open, by whether it is an administrator's
	views   map[string]*view // by mesh as it was asked for; those that somebody looks at
}

// New is a server of what the source knows.
func New(source Source, log *slog.Logger) *Server {
	return &Server{source: source, log: log, streams: map[bool]int{}, views: map[string]*view{}}
}

// contentPolicy has the browser refuse whatever does not come from here. Trusted types make each way to have text taken for
// HTML an error, so that a name stays a name, whatever is in it.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// types are those of the files.
func types() map[string]string {
	return map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
		".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	}
}

// guard sets the headers that keep the page to itself.
func guard(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// File is a file of the page, ready to be sent. "" is the page itself. An error is an [fs.ErrNotExist].
func (s *Server) File(name string) (func(http.ResponseWriter), error) {
	if name == "" {
		name = "page.html"
	}
	data, err := fs.ReadFile(files, path.Join("page", name))
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		guard(w.Header())
		w.Header().Set("Content-Type", types()[path.Ext(name)])
		w.Write(data) // who is gone does not read it
	}, nil
}
