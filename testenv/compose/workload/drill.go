package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"koguma/policy"
	"koguma/testenv"
)

const (
	rate  = 100             // requests a second
	limit = 2 * time.Minute // for a whole drill
	pause = 50 * time.Millisecond
)

// drill sends requests to the address while somebody replaces the token of the agent, which has its diagnostics at the other
// address. It begins with the first good answer, and ends when the agent has come in by so many further tokens.
func drill(ctx context.Context, address, agent string, rotations int, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		answer, err := ask(ctx, address)
		if err == nil && strings.HasPrefix(answer, "200 ") {
			break
		}
		if end := sleep(ctx, pause); end != nil {
			return fmt.Errorf("no good answer from %s, but %q: %w", address, answer, errors.Join(end, err))
		}
	}
	load := testenv.StartLoad(ctx, address, rate)
	seen, err := tokens(ctx, agent, 1+rotations)
	if err == nil {
		err = sleep(ctx, time.Second) // in which the last stream by the old token ends
	}
	sent, slowest, lost := load.Stop()
	fmt.Fprintf(w, "%d requests while the token was replaced %d times: %d lost, the slowest took %v\n",
		sent, seen-1, len(lost), slowest.Round(time.Millisecond))
	if len(lost) > 0 {
		err = errors.Join(err, errors.Join(lost[:min(3, len(lost))]...))
	}
	return err
}

// tokens waits until the control plane has let in the agent by so many tokens, and returns how many it was.
func tokens(ctx context.Context, agent string, want int) (int, error) {
	seen := map[string]bool{}
	for {
		id, err := whoami(ctx, agent)
		if err == nil && id.Token != nil && id.ControlPlane.Connected {
			seen[id.Token.ID] = true
		}
		if len(seen) >= want {
			return len(seen), nil
		}
		if end := sleep(ctx, pause); end != nil {
			return len(seen), fmt.Errorf("after %d of %d tokens: %w", len(seen), want, errors.Join(end, err))
		}
	}
}

func whoami(ctx context.Context, agent string) (id policy.ProxyIdentity, err error) {
	status, body, err := testenv.Get(ctx, "http://"+agent+"/identity")
	if err != nil {
		return id, err
	}
	if status != http.StatusOK {
		return id, fmt.Errorf("/identity: %d %s", status, body)
	}
	err = policy.Decode([]byte(body), &id)
	return id, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
