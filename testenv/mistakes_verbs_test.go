package testenv_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"koguma/mistake"
	"koguma/testenv"
	"koguma/token"
)

func cmdMistake(ts *testscript.TestScript, _ bool, args []string) {
	e, ok := mistake.Find(args[0])
	if !ok {
		ts.Fatalf("there is no code %s", args[0])
	}
	said := ts.ReadFile("stderr")
	for _, want := range []string{
		"\n  cause: " + e.Cause + "\n  next:  ", "\n  " + args[0] + ": kumactl explain " + args[0] + ", or doc/errors/" + args[0] + ".md\n",
	} {
		if !strings.Contains(said, want) {
			ts.Fatalf("it does not say %q", want)
		}
	}
	if regexp.MustCompile(`eyJ\w`).MatchString(said) || strings.Contains(said, "PRIVATE") {
		ts.Fatalf("there is a token or a key in it")
	}
}

// nextCommand is the nth command that the last one printed.
func nextCommand(ts *testscript.TestScript, args []string) string {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	_, said, ok := strings.Cut(ts.ReadFile("stderr"), "\n  next:  ")
	if !ok {
		ts.Fatalf("the last command printed none")
	}
	said, _, _ = strings.Cut(said, "\n  KG")
	lines := strings.Split(said, "\n")
	if n > len(lines) {
		ts.Fatalf("it printed %d commands", len(lines))
	}
	return strings.Replace(strings.TrimSpace(lines[n-1]), "...", mistake.Command(args[1:]...), 1)
}

func cmdNext(ts *testscript.TestScript, neg bool, args []string) {
	line := nextCommand(ts, args)
	if err := ts.Exec("bash", "-c", line); (err != nil) != neg {
		ts.Fatalf("%s: %v", line, err)
	}
}

func cmdUntil(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	c := testenv.Command{Name: args[1], Path: args[1], Args: args[2:], Dir: ts.MkAbs(".")}
	if args[1] == "next" {
		c.Name, c.Args = "the next command", []string{"-c", "exec env " + nextCommand(ts, args[2:])}
		c.Path = "bash"
	}
	for _, name := range []string{
		"PATH", "HOME", "TMPDIR", "NAME", "KUMA_CONTROL_PLANE_URL", "KUMA_DATAPLANE_RUNTIME_BINARY_PATH", "KUMA_DATAPLANE_DRAIN_TIME",
		"KUMA_DATAPLANE_RUNTIME_TOKEN_PATH", "KUMA_CONTROL_PLANE_RETRY_MAX_DURATION",
		"KUMA_GENERAL_WORK_DIR", "KUMA_API_SERVER_HTTP_PORT", "KUMA_DP_SERVER_PORT", "KUMA_DIAGNOSTICS_SERVER_PORT",
		"KUMA_ADMIN_SERVER_LOCAL_PORT", "KUMA_INTER_CP_SERVER_PORT", "KUMA_STORE_TYPE", "KUMA_STORE_POSTGRES_HOST", "KUMA_STORE_POSTGRES_PORT",
		"KUMA_STORE_POSTGRES_USER", "KUMA_STORE_POSTGRES_PASSWORD", "KUMA_STORE_POSTGRES_DB_NAME",
	} {
		if value := ts.Getenv(name); value != "" {
			c.Env = append(c.Env, name+"="+value)
		}
	}
	if path, err := testenv.Binary(c.Path); err == nil {
		c.Path = path
	}
	p, err := testenv.Start(c)
	ts.Check(err)
	_, err = p.AwaitOutput(inTime(ts), want)
	if stopErr := p.Stop(20 * time.Second); err == nil {
		err = stopErr
	}
	ts.Check(err)
}

// inTime is a context for what a script waits for.
func inTime(ts *testscript.TestScript) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	ts.Defer(cancel)
	return ctx
}

func cmdKumaCP(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs("own")
	ts.Check(os.Mkdir(dir, 0o700))
	own, err := testenv.StartControlPlane(inTime(ts), dir, args...)
	ts.Check(err)
	ts.Defer(func() { ts.Check(own.Stop(20 * time.Second)) })
	ts.Setenv("OWN_API", own.API)
	ts.Setenv("OWN_DP", own.DP)
	ts.Setenv("OWN_API_PORT", own.API[strings.LastIndexByte(own.API, ':')+1:])
}

func cmdPostgres(ts *testscript.TestScript, _ bool, _ []string) {
	p, err := testenv.NewPostgres(inTime(ts))
	ts.Check(err)
	ts.Defer(func() { ts.Check(p.Close()) })
	ts.Check(p.Start(inTime(ts)))
	cfg, err := p.NewDatabase(inTime(ts))
	ts.Check(err)
	for _, v := range testenv.PostgresEnv(cfg) {
		name, value, _ := strings.Cut(v, "=")
		ts.Setenv(name, value)
	}
}

func cmdEarly(ts *testscript.TestScript, _ bool, args []string) {
	mesh, file := args[0], args[1]
	pem, err := token.NewKeyPEM()
	ts.Check(err)
	key, err := token.ParseKey(pem)
	ts.Check(err)
	secret := fmt.Sprintf("type: Secret\nmesh: %s\nname: dataplane-token-signing-key-%[1]s-2\ndata: %s\n", mesh, base64.StdEncoding.EncodeToString(pem))
	ts.Check(os.WriteFile(ts.MkAbs("secret.yaml"), []byte(secret), 0o600))
	ts.Check(ts.Exec("kumactl", "apply", "-f", "secret.yaml"))
	ts.Check(ts.Exec("kumactl", "generate", "dataplane-token", "--mesh", mesh, "--valid-for", "1h"))
	usual, err := token.Inspect(token.Raw(strings.TrimSpace(ts.ReadFile("stdout"))))
	ts.Check(err)
	begin := time.Now().Add(time.Hour)
	raw, err := token.Sign(token.SigningKey{KID: "2", Key: key}, token.Claims{
		Mesh: mesh, Name: ts.Getenv("NAME"), Pin: usual.Pin, IssuedAt: begin, NotBefore: begin, ExpiresAt: begin.Add(time.Hour),
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(file), []byte(raw), 0o600))
}

func cmdOccupy(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv("PORT", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}
