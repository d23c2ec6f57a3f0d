package cp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"koguma/cp/api"
	"koguma/policy"
)

// serve answers the other control planes until the context ends.
func (p *peers) serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /roll", p.tell)
	mux.HandleFunc("POST /accounts", p.answer)
	s := &http.Server{
		Handler: mux, Protocols: new(http.Protocols),
		TLSConfig:         p.tls(func(string) error { return nil }),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	s.Protocols.SetHTTP2(true)
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.ServeTLS(p.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}

// tell tells a peer of the own proxies, a line of JSON each time that something has changed. An empty line is a sign of life.
func (p *peers) tell(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	cursor := p.roll.follow()
	defer cursor.close()
	for {
		wait, cancel := context.WithTimeout(r.Context(), p.terms.beat)
		update, err := cursor.next(wait)
		cancel()
		var line []byte
		switch {
		case r.Context().Err() != nil:
			return
		case err == nil:
			line, err = policy.Encode(update)
		case errors.Is(err, context.DeadlineExceeded):
			err = nil
		}
		if err != nil {
			p.log.Error("the other control planes cannot be told of the proxies here", "error", err)
			return
		}
		out.SetWriteDeadline(time.Now().Add(p.terms.silence))
		if _, err := io.WriteString(w, string(line)+"\n"); err != nil || out.Flush() != nil {
			return // the peer will come again
		}
	}
}

// accountant answers for the own proxies.
type accountant interface {
	accounts(q api.Question) []account
}

// maxQuestion bounds what a peer may ask, in bytes: it may name all proxies.
const maxQuestion = 8 << 20

// answer answers a question of a peer.
func (p *peers) answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
	var q api.Question
	if err == nil {
		err = policy.DecodeOpen(body, &q)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	data, err := policy.Encode(tally{p.own.accounts(q)})
	if err != nil {
		p.log.Error("another control plane cannot be answered", "error", err)
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(p.terms.silence))
	w.Write(data)
}
