// Drill shows that nothing is lost in the whole life of a token, and how soon whoever is withdrawn is out: five proxies
// with real Envoys, of which three instances of web, and api, send 1,000 requests a second to backend while tokens are
// rotated, the signing key is, one token is revoked and one expires.
//
// A request is sent once. What is lost of those who were never withdrawn, and a bound that was missed, end the drill with
// the code 1. Each is counted and timed here, at the client; nothing is taken from what the mesh says of itself, except
// when an agent has a stream and which token it came in by.
//
// There is one control plane: no two can have one store.
package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

//go:embed *.yaml
var files embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "drill: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "koguma-drill-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.CopyFS(dir, files); err != nil {
		return err
	}
	d := &drill{dir: dir}
	defer func() { err = errors.Join(err, d.stop()) }()

	for _, step := range []struct {
		does string
		do   func(context.Context) (string, error)
	}{
		{"start a mesh", d.start},
		{"begin to send", d.send},
		{"change nothing", d.rest},
		{"rotate tokens", d.rotateTokens},
		{"rotate the signing key", d.rotateSigningKey},
		{"revoke web-2's token", d.revoke},
		{"let api's token expire", d.expire},
		{"give api a new token", d.comeBack},
		{"ask who is in by what", d.inspect},
	} {
		ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
		seen, err := step.do(ctx)
		cancel()
		if errors.Is(err, context.Canceled) {
			return errors.New("interrupted")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step.does, err)
		}
		fmt.Printf("%-22s -> %s\n", step.does, seen)
	}
	fmt.Println()
	return d.report(os.Stdout)
}
