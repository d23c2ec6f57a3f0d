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

	"koguma/testenv"
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

	err = testenv.Show(ctx, os.Stdout, 40*time.Second, []testenv.Step{
		{Does: "start a mesh", Do: d.start},
		{Does: "begin to send", Do: d.send},
		{Does: "change nothing", Do: d.rest},
		{Does: "rotate tokens", Do: d.rotateTokens},
		{Does: "rotate the signing key", Do: d.rotateSigningKey},
		{Does: "revoke web-2's token", Do: d.revoke},
		{Does: "let api's token expire", Do: d.expire},
		{Does: "give api a new token", Do: d.comeBack},
		{Does: "ask who is in by what", Do: d.inspect},
	})
	if err != nil {
		return err
	}
	fmt.Println()
	return d.report(os.Stdout)
}
