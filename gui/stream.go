package gui

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	// beat is how often a page hears something even if nothing has changed. One that does not says so.
	beat = 5 * time.Second
	// writeTimeout is how long a page may take to read what it is sent, before it counts as gone.
	writeTimeout = 10 * time.Second
	// maxLife is how long a stream lasts: who may see what is judged anew at its end, when the page asks again.
	maxLife = 10 * time.Minute
)

// Stream is one page that is open. It has to be served or closed.
type Stream struct {
	server *Server
	view   *view
	admin  bool
}

// Open takes a page in that shows a mesh; "" is as for [Source.Look]. admin is whether it may see what was refused. The error
// is [ErrTooMany].
func (s *Server) Open(mesh string, admin bool) (*Stream, error) {
	v, err := s.join(mesh, admin)
	if err != nil {
		return nil, err
	}
	return &Stream{s, v, admin}, nil
}

// Serve sends the page all there is and then each change, until the request or the stream ends.
func (t *Stream) Serve(w http.ResponseWriter, r *http.Request) {
	defer t.server.leave(t.view, t.admin)
	guard(w.Header())
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for proxies that would collect events
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	rc := http.NewResponseController(w)
	ctx, cancel := context.WithTimeout(r.Context(), maxLife)
	defer cancel()
	if err := t.follow(ctx, w, rc); err != nil && ctx.Err() == nil {
		t.server.log.Warn("a page was let go of", "mesh", t.view.mesh, "peer", r.RemoteAddr, "error", err)
	}
}

// message is one event, as the page reads it.
type message struct {
	Now   time.Time                  `json:"now"`             // by the clock of the control plane, for who counts down
	Whole bool                       `json:"whole,omitempty"` // it is all there is, and not what has changed
	Admin bool                       `json:"admin,omitempty"` // refusals are among it, if there are any
	Parts map[string]json.RawMessage `json:"parts,omitempty"`
}

// follow sends editions until the context ends, or one cannot be made or sent.
func (t *Stream) follow(ctx context.Context, w http.ResponseWriter, rc *http.ResponseController) error {
	var shown *edition
	var said time.Time
	for {
		e, next, err := t.view.look(ctx, t.server.source)
		if err != nil {
			return err
		}
		if e != shown || time.Since(said) >= beat {
			said = time.Now()
			m := message{Now: said.UTC(), Whole: shown == nil, Admin: t.admin, Parts: e.since(shown, t.admin)}
			if err := send(w, rc, m); err != nil {
				return err
			}
			shown = e
		}
		select {
		case <-time.After(time.Until(next)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func send(w http.ResponseWriter, rc *http.ResponseController, m message) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // where there is none to set, the server has its own
	if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil {
		return err
	}
	return rc.Flush()
}
