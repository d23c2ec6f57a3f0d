package agent

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"koguma/mistake"
	"koguma/policy"
	"koguma/token"
)

// credential is the token of this proxy, and what there is to tell people about it.
type credential struct {
	source  *token.Source
	log     *slog.Logger
	reloads *prometheus.CounterVec // by result

	mu      sync.Mutex
	used    token.Held // the one that the control plane let in last
	refused token.Held // the one that it refused last, and has not let in since
	reason  string     // why it did
}

// The results of a reload. A token that was accepted may still be refused by the control plane.
const (
	reloadAccepted = "accepted"
	reloadRejected = "rejected"
	reloadRefused  = "refused"
)

func newReloads() *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kuma_dp_token_reloads_total",
		Help: "How often the token file had something new, by what became of it.",
	}, []string{"result"})
	for _, result := range []string{reloadAccepted, reloadRejected, reloadRefused} {
		v.WithLabelValues(result)
	}
	return v
}

func newCredential(cfg Config) (*credential, error) {
	c := &credential{log: cfg.Log, reloads: newReloads()}
	var err error
	c.source, err = token.NewSource(token.SourceConfig{
		File: cfg.TokenFile, Text: cfg.Token, Mesh: cfg.Mesh, Name: cfg.Name, Services: services(cfg), Log: cfg.Log,
		Reloaded: func(err error) {
			result := reloadAccepted
			if err != nil {
				result = reloadRejected
			}
			c.reloads.WithLabelValues(result).Inc()
		},
	})
	if err == nil && cfg.TokenFile == "" && cfg.Token == "" {
		cfg.Log.Warn("no token; only a control plane whose authentication is switched off lets this proxy in", "remedy", c.source.Remedy())
	}
	return c, err
}

// services are those of the proxy, none if the Dataplane is not known here.
func services(cfg Config) []string {
	if cfg.Dataplane == nil {
		return nil
	}
	return cfg.Dataplane.Services()
}

// expired reports whether there is a token, but its time is over.
func expired(h token.Held, now time.Time) bool {
	return h.Raw != "" && !now.Before(h.Claims.ExpiresAt)
}

// old is when two thirds of the life of a token are over, which is the time to make another.
func old(h token.Held) time.Time {
	begin := cmp.Or(h.Claims.IssuedAt, h.Claims.NotBefore)
	if begin.IsZero() { // nobody said; a day is time enough to do something
		return h.Claims.ExpiresAt.Add(-24 * time.Hour)
	}
	return begin.Add(h.Claims.ExpiresAt.Sub(begin) * 2 / 3)
}

// warn tells once of each token that it is getting old, until ctx ends.
func (c *credential) warn(ctx context.Context) {
	for {
		held, changed := c.source.Current()
		var due <-chan time.Time
		if held.Raw != "" {
			due = time.After(time.Until(old(held)))
		}
		select {
		case <-due:
			c.log.Warn("two thirds of the token's life are over", "jti", held.Claims.ID, "expires", at(held.Claims.ExpiresAt),
				"remedy", c.source.Remedy())
		case <-changed:
			continue
		case <-ctx.Done():
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func at(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// admit notes that the control plane let the proxy in with a token.
func (c *credential) admit(h token.Held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = h
	if c.refused.Raw == h.Raw {
		c.refused, c.reason = token.Held{}, ""
	}
}

// refuse notes that the control plane does not let the proxy in with a token.
func (c *credential) refuse(h token.Held, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused.Raw != h.Raw {
		c.reloads.WithLabelValues(reloadRefused).Inc()
	}
	c.refused, c.reason = h, reason
}

// inUse is what may be told of the token that the control plane let the proxy in with last, nil if there is none.
func (c *credential) inUse() *policy.IdentityToken {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used.Raw == "" {
		return nil
	}
	claims := &c.used.Claims
	return &policy.IdentityToken{ID: claims.ID, KeyID: token.KeyID(c.used.Raw), ExpiresAt: claims.ExpiresAt.UTC()}
}

// notAfter is when the token in use ends, in seconds since 1970.
func (c *credential) notAfter() float64 {
	c.mu.Lock()
	end := c.used.Claims.ExpiresAt
	c.mu.Unlock()
	if end.IsZero() {
		held, _ := c.source.Current()
		end = held.Claims.ExpiresAt
	}
	if end.IsZero() {
		return 0
	}
	return float64(end.Unix())
}

// remarks are what is wrong with the token, or soon will be, a line each.
func (c *credential) remarks(now time.Time) []string {
	var lines []string
	held, _ := c.source.Current()
	if err := c.source.Fault(); err != nil {
		lines = append(lines, fmt.Sprintf("the token file is not used, the last good token stays (jti %q): %s", held.Claims.ID, mistake.Line(err)))
	}
	c.mu.Lock()
	if c.reason != "" && c.refused.Raw == held.Raw && !expired(held, now) {
		lines = append(lines, fmt.Sprintf("the control plane refuses the token (jti %q): %s", held.Claims.ID, c.reason))
	}
	c.mu.Unlock()
	switch end := held.Claims.ExpiresAt; {
	case expired(held, now):
		lines = append(lines, fmt.Sprintf("the token expired at %s (jti %q); %s", at(end), held.Claims.ID, c.source.Remedy()))
	case held.Raw != "" && !now.Before(old(held)):
		lines = append(lines, fmt.Sprintf("the token ends at %s (jti %q); %s", at(end), held.Claims.ID, c.source.Remedy()))
	}
	return lines
}
