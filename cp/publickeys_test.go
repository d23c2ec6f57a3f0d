package cp_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"koguma/certs"
	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/cp/settings"
	"koguma/token"
	"koguma/xds"
)

// publicPEM is the public half of a key, in the two forms that there are.
func publicPEM(t testing.TB, private []byte) (pkcs1, pkix string) {
	t.Helper()
	key, err := token.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(token.EncodePublicKey(&key.PublicKey)), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// signBy is a token by a key of the configuration.
func signBy(t testing.TB, private []byte, kid string, c token.Claims) string {
	t.Helper()
	key, err := token.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	c.ExpiresAt = time.Now().Add(time.Hour)
	raw, err := token.Sign(token.SigningKey{KID: kid, Key: key}, c)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// reach learns the pin of a control plane from its certificate, and dials it: for one that issues no tokens.
func (p *plane) reach() *plane {
	p.t.Helper()
	conn, err := tls.Dial("tcp", p.addrs.DP.String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	chain := conn.ConnectionState().PeerCertificates
	p.pin = certs.Pin(chain[len(chain)-1])
	p.conn = p.dial()
	return p
}

// validator is a configuration with these static keys.
func validator(issuer, secrets bool, keys ...settings.PublicKeyConf) func(*settings.Config) {
	return func(c *settings.Config) {
		c.DPServer.Authn.DPProxy.DPToken = settings.DPTokenConf{
			EnableIssuer: issuer, Validator: settings.DPTokenValidatorConf{UseSecrets: secrets, PublicKeys: keys},
		}
	}
}

// comes is a stream of a proxy that is let in by a token.
func (p *plane) comes(raw, name string) *stream {
	p.t.Helper()
	return p.joinBy(p.conn, "sotw", raw, node(p.t, "default."+name, brought(dataplane(name, "web"))))
}

// turned away is the end of a stream by a token that is refused for that check.
func (p *plane) turnedAway(raw, check string) {
	p.t.Helper()
	s := p.open(p.conn, "sotw", raw)
	s.askAs(node(p.t, "default.dp-1", brought(dataplane("dp-1", "web"))), xds.TypeCluster)
	s.refused(check, raw)
}

// With static keys alone, tokens made elsewhere open the door, and those by a key in the store do not. No key for
// signing is made, and none are issued.
func TestOfflineIssuing(t *testing.T) {
	t.Parallel()
	pkcs1, pkix := publicPEM(t, cptest.SigningKey())
	other := cptest.NewKey(t)
	p := boot(t, validator(false, false,
		settings.PublicKeyConf{KID: "key-1", Mesh: "default", Key: pkcs1}, settings.PublicKeyConf{KID: "key-2", Key: pkix},
	)).reach()
	for i, kid := range []string{"key-1", "key-2"} {
		p.comes(signBy(t, cptest.SigningKey(), kid, token.Claims{Mesh: "default"}), fmt.Sprintf("dp-%d", i)).leave()
	}
	p.turnedAway(signBy(t, other, "key-1", token.Claims{Mesh: "default"}), "signature")
	p.turnedAway(signBy(t, cptest.SigningKey(), "key-1", token.Claims{Mesh: "other"}), "mesh")
	if secrets := p.rest("GET", "/secrets", ""); strings.Contains(secrets, "signing-key") {
		t.Errorf("a signing key was made: %s", secrets)
	}
	p.put("/meshes/default/secrets/"+cptest.KeyName(1), cptest.SecretJSON(cptest.KeyName(1), other))
	p.turnedAway(signBy(t, other, "1", token.Claims{Mesh: "default"}), "key")
	for _, url := range []string{p.addrs.API.String() + "/tokens/dataplane", p.addrs.Admin.String() + "/tokens"} {
		p.posts("http://"+url, `{"mesh":"default","name":"dp-1"}`).WantProblem(t, 404, "dpServer.authn.dpProxy.dpToken.enableIssuer is false; make them with kumactl")
	}
	const list = "dataplane-token-revocations-default"
	p.put("/meshes/default/secrets/"+list, cptest.SecretJSON(list, []byte("bad")))
	p.eventually("the list to count", func() bool {
		s := p.open(p.conn, "sotw", signBy(t, cptest.SigningKey(), "key-1", token.Claims{Mesh: "default", ID: "bad"}))
		s.askAs(node(t, "default.dp-9", brought(dataplane("dp-9", "web"))), xds.TypeCluster)
		_, err := s.ads.recv()
		return err != nil && strings.Contains(err.Error(), "revoked")
	})
}

// For a migration both kinds of keys count; where they have the same id, the static one does.
func TestStaticKeysAndSecrets(t *testing.T) {
	t.Parallel()
	static := cptest.NewKey(t)
	public, _ := publicPEM(t, static)
	p := start(t, validator(true, true, settings.PublicKeyConf{KID: "key-1", Key: public}, settings.PublicKeyConf{KID: "1", Mesh: "default", Key: public}))
	p.comes(signBy(t, static, "key-1", token.Claims{Mesh: "default"}), "dp-1")
	p.comes(signBy(t, static, "1", token.Claims{Mesh: "default"}), "dp-2")
	p.comes(p.rest("POST", "/tokens/dataplane", `{"mesh":"default","validFor":"1h"}`), "dp-3")
	p.put("/meshes/brief", `{"type":"Mesh","name":"brief"}`)
	first := p.rest("POST", "/tokens/dataplane", `{"mesh":"brief","validFor":"1h"}`) // by its key 1, which no static one hides
	d := strings.ReplaceAll(dataplane("dp-1", "web"), `"default"`, `"brief"`)
	p.eventually("the key of the new mesh", func() bool {
		s := p.open(p.conn, "sotw", first)
		s.askAs(node(t, "brief.dp-1", brought(d)), xds.TypeCluster)
		_, err := s.ads.recv()
		return err == nil
	})
}

// A token by the key of a secret whose id a static key has is refused, and says why.
func TestStaticKeyHidesSecret(t *testing.T) {
	t.Parallel()
	public, _ := publicPEM(t, cptest.NewKey(t))
	p := boot(t, validator(true, true, settings.PublicKeyConf{KID: "1", Mesh: "default", Key: public})).reach()
	p.turnedAway(p.rest("POST", "/tokens/dataplane", `{"mesh":"default","validFor":"1h"}`), "signature")
}

// write makes a file what the text says.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// swap makes a symbolic link to the target of what there is, in one step.
func swap(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
}

// A key file that changes is taken up within a second, however it is changed; who came in by the key that was there is
// put out, and nobody else.
func TestKeyFileChanges(t *testing.T) {
	t.Parallel()
	dir, far := t.TempDir(), filepath.Join(t.TempDir(), "far.pem")
	at := func(elem ...string) string { return filepath.Join(dir, filepath.Join(elem...)) }
	keys := [][]byte{cptest.SigningKey(), cptest.NewKey(t)}
	var public [2]string
	for i := range keys {
		public[i], _ = publicPEM(t, keys[i])
		if err := os.Mkdir(at(fmt.Sprint("v", i)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, at(fmt.Sprint("v", i), "key.pem"), public[i])
	}
	swap(t, "v0", at("..data"))
	swap(t, "..data/key.pem", at("key.pem"))
	p := boot(t, validator(false, false, settings.PublicKeyConf{KID: "k", KeyFile: at("key.pem")}, settings.PublicKeyConf{KID: "stays", Key: public[0]})).reach()
	p.apply("dp-1", dataplane("dp-1", "web")) // so that it does not go with its proxy
	kept := p.comes(signBy(t, keys[0], "stays", token.Claims{Mesh: "default"}), "kept")
	by := func(i int) string { return signBy(t, keys[i], "k", token.Claims{Mesh: "default"}) }
	for i, change := range []struct {
		name string
		do   func(text string)
	}{
		{"its folder is another", func(string) { swap(t, "v1", at("..data")) }},
		{"it is replaced", func(text string) {
			write(t, at("new"), text)
			if err := os.Rename(at("new"), at("key.pem")); err != nil {
				t.Fatal(err)
			}
		}},
		{"it is written in place", func(text string) { write(t, at("key.pem"), text) }},
		{"it is a link to another folder", func(text string) { write(t, far, text); swap(t, far, at("key.pem")) }},
		{"the other end of the link is written", func(text string) { write(t, far, text) }}, // in a folder that is not watched
	} {
		now, then := i%2, (i+1)%2
		s := p.comes(by(now), "dp-1")
		begin := time.Now()
		change.do(public[then])
		s.ended(codes.Unauthenticated, `signing key "k" of mesh "default" is another one now`)
		if took := time.Since(begin); took > 3*time.Second { // a second, and what a busy machine needs besides
			t.Errorf("%s: it took %v", change.name, took)
		}
		p.turnedAway(by(now), "signature")
		p.comes(by(then), "dp-1").leave()
	}
	kept.leave()
	for _, name := range []string{`koguma_public_key_reloads_total{result="ok"}`, `koguma_sessions_closed_total{reason="key"}`} {
		if n := p.metric(name); n != 5 {
			t.Errorf("%s is %d, want 5", name, n)
		}
	}
}

// A key file that cannot be read any more changes nothing but the log, once for each way, and the metric.
func TestKeyFileSpoilt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key.pem")
	public, _ := publicPEM(t, cptest.SigningKey())
	write(t, path, public)
	p := boot(t, validator(false, false, settings.PublicKeyConf{KID: "k", KeyFile: path})).reach()
	raw := signBy(t, cptest.SigningKey(), "k", token.Claims{Mesh: "default"})
	p.apply("dp-1", dataplane("dp-1", "web")) // so that it does not go with its proxy
	live := p.comes(raw, "live")
	for i, spoil := range []func() error{
		func() error { return os.WriteFile(path, []byte("canary"), 0o600) },
		func() error { return os.Remove(path) },
		func() error { return syscall.Mkfifo(path, 0o600) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		p.eventually("the failure to be counted", func() bool { return p.metric(`koguma_public_key_reloads_total{result="failed"}`) == i+1 })
		p.comes(raw, "dp-1").leave()
	}
	if log := p.log.String(); strings.Count(log, "level=ERROR") != 3 || strings.Contains(log, "canary") {
		t.Errorf("the log should have each failure once, and nothing of the file: %s", log)
	}
	live.leave()
}

// A key file that cannot be read at the start ends it, with the place of the setting.
func TestKeyFileUnreadable(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, say := range map[string]string{broken: "it is not PEM", broken + "x": "no such file", filepath.Dir(broken): "not a regular file"} {
		cfg := settings.Default()
		cfg.Store.Type = settings.StoreMemory
		validator(true, true, settings.PublicKeyConf{KID: "k", KeyFile: file})(&cfg)
		c, err := cp.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Run(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), "dpServer.authn.dpProxy.dpToken.validator.publicKeys[0].keyFile: ") ||
			!strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want %q", file, err, say)
		}
	}
}
