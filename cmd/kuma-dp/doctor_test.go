package main_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"koguma/certs"
	"koguma/cp"
	"koguma/cp/settings"
	"koguma/token"
)

// TestDoctor runs testdata/doctor. Each script finds tokens for web-1 in its directory, which no control plane has signed:
// good, old (most of its life is over), expired, early (it begins in an hour), other (of another mesh) and api (for that
// service). $ENVOY is the real Envoy, $FAKE something that only says that it is one, which takes no time, and $IP an address
// of this machine that nobody else uses. Beside the verbs of testscript there are
//
//	kuma-cp                        start a control plane; its DP server is at $DP, its API at $API, both host:port
//	rest METHOD PATH BODY [FILE]   ask its API, and write what it answers to a file for us only
//	listen NAME [IP]               listen at a port of $IP, or of another one, which is in $NAME from then on
//	clock-cp NAME AHEAD            start a DP server at $NAME whose clock is ahead by that, and whose CA is in ca.crt
func TestDoctor(t *testing.T) {
	t.Parallel()
	envoy, err := filepath.Abs(filepath.Join("..", "..", ".tools", "envoy", "bin", "envoy"))
	if err != nil {
		t.Fatal(err)
	}
	if own := os.Getenv("KOGUMA_ENVOY"); own != "" {
		envoy = own
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/doctor",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Setenv("ENVOY", envoy)
			env.Setenv("FAKE", filepath.Join(env.WorkDir, "fake-envoy"))
			env.Setenv("IP", "127.77.13.1")
			env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
			return errors.Join(os.Mkdir(filepath.Join(env.WorkDir, "tmp"), 0o700), writeDoctorTokens(env),
				os.WriteFile(env.Getenv("FAKE"), []byte(fakeEnvoy), 0o700))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"kuma-cp": cmdKumaCP, "rest": cmdREST, "listen": cmdListen, "clock-cp": cmdClockCP,
		},
	})
}

const fakeEnvoy = `#!/bin/sh
echo 'envoy  version: abc/1.40.0/Clean/RELEASE/BoringSSL'
`

// writeDoctorTokens writes what no control plane has signed.
func writeDoctorTokens(env *testscript.Env) error {
	text, err := token.NewKeyPEM()
	if err != nil {
		return err
	}
	key, err := token.ParseKey(text)
	if err != nil {
		return err
	}
	now := time.Now()
	for name, c := range map[string]token.Claims{
		"good":    {Mesh: "default", NotBefore: now, ExpiresAt: now.Add(time.Hour)},
		"old":     {Mesh: "default", NotBefore: now.Add(-9 * time.Hour), ExpiresAt: now.Add(time.Hour)},
		"expired": {Mesh: "default", NotBefore: now.Add(-2 * time.Hour), ExpiresAt: now.Add(-time.Hour)},
		"early":   {Mesh: "default", NotBefore: now.Add(time.Hour), ExpiresAt: now.Add(2 * time.Hour)},
		"other":   {Mesh: "other", NotBefore: now, ExpiresAt: now.Add(time.Hour)},
		"api":     {Mesh: "default", NotBefore: now, ExpiresAt: now.Add(time.Hour), Tags: map[string][]string{"kuma.io/service": {"api"}}},
	} {
		c.Name, c.IssuedAt = "web-1", c.NotBefore
		raw, err := token.Sign(token.SigningKey{KID: "1", Key: key}, c)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(raw), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// cmdKumaCP starts a control plane in this process, which ends with the script.
func cmdKumaCP(ts *testscript.TestScript, _ bool, _ []string) {
	cfg := settings.Default()
	cfg.Store.Type = settings.StoreMemory
	cfg.APIServer.HTTP.Port, cfg.DPServer.Port, cfg.Diagnostics.ServerPort, cfg.AdminServer.Local.Port = 0, 0, 0, 0
	cfg.DPServer.Interface = "127.0.0.1"
	cfg.Log = slog.New(slog.DiscardHandler)
	plane, err := cp.New(cfg)
	ts.Check(err)
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := plane.Run(ctx)
		cancel(err)
		ended <- err
	}()
	ts.Defer(func() {
		cancel(nil)
		<-ended
	})
	addrs, err := plane.Addrs(ctx)
	ts.Check(errors.Join(err, context.Cause(ctx)))
	ts.Setenv("DP", addrs.DP.String())
	ts.Setenv("API", addrs.API.String())
}

func cmdREST(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: rest METHOD PATH BODY [FILE]")
	}
	req, err := http.NewRequest(args[0], "http://"+ts.Getenv("API")+args[1], bytes.NewBufferString(args[2]))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	ts.Check(err)
	if res.StatusCode > 299 {
		ts.Fatalf("%s: %s", res.Status, text)
	}
	if len(args) == 4 {
		ts.Check(os.WriteFile(ts.MkAbs(args[3]), text, 0o600))
	}
}

func cmdListen(ts *testscript.TestScript, _ bool, args []string) {
	ip := ts.Getenv("IP")
	if len(args) > 1 {
		ip = args[1]
	}
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

func cmdClockCP(ts *testscript.TestScript, _ bool, args []string) {
	ahead, err := time.ParseDuration(args[1])
	ts.Check(err)
	ca, err := certs.NewCA(certs.CAOptions{CommonName: "clock", Life: time.Hour})
	ts.Check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	chain, err := ca.IssueServer(key.Public(), []string{"127.0.0.1"}, time.Hour)
	ts.Check(err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{
		{Certificate: [][]byte{chain[0].Raw, chain[1].Raw}, PrivateKey: key},
	}})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("ca.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[1].Raw}), 0o600))
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/x-yaml")
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	ts.Defer(func() {
		server.Close()
		<-done
	})
	ts.Setenv(args[0], l.Addr().String())
}
