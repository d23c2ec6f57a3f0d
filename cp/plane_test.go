package cp_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"koguma/certs"
	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/token"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// plane is a control plane at work within this process. Its mesh "default" has signingKey as its second key.
type plane struct {
	t     *testing.T
	addrs cp.Addrs
	pin   string // of its CA
	log   *cptest.Log
	conn  *grpc.ClientConn // for the streams that do not need a connection of their own
	end   func()           // stops it and waits until it has stopped; may be called twice
}

// boot starts a control plane, which ends with the test at the latest.
func boot(t *testing.T, change ...func(*settings.Config)) *plane {
	t.Helper()
	p := &plane{t: t, log: new(cptest.Log)}
	p.run(p.config(change...))
	return p
}

// config is one for a test.
func (p *plane) config(change ...func(*settings.Config)) settings.Config {
	cfg := settings.Default()
	cfg.Store.Type = settings.StoreMemory
	cfg.APIServer.HTTP.Port, cfg.DPServer.Port, cfg.Diagnostics.ServerPort, cfg.AdminServer.Local.Port = 0, 0, 0, 0
	cfg.DPServer.Interface = "127.0.0.1"
	cfg.Log = slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, c := range change {
		c(&cfg)
	}
	return cfg
}

// start starts a control plane and makes it ready for proxies.
func start(t *testing.T, change ...func(*settings.Config)) *plane {
	t.Helper()
	p := boot(t, change...)
	p.makeReady()
	return p
}

// makeReady makes a control plane ready for proxies.
func (p *plane) makeReady() {
	t := p.t
	t.Helper()
	claims, err := token.Inspect(token.Raw(p.rest("POST", "/tokens/dataplane", `{"mesh":"default","validFor":"1h"}`)))
	if err != nil {
		t.Fatal(err)
	}
	p.pin = claims.Pin
	p.conn = p.dial()
	p.put("/meshes/default/secrets/"+cptest.KeyName(2), cptest.SecretJSON(cptest.KeyName(2), cptest.SigningKey()))
	mine := sign(t, token.Claims{Mesh: "default"})
	p.eventually("the second signing key to be known", func() bool {
		return p.askBootstrap("", map[string]any{"mesh": "default", "name": "nobody", "workdir": "/w", "dataplaneToken": mine}).Status == http.StatusNotFound
	})
}

func (p *plane) run(cfg settings.Config) {
	p.t.Helper()
	p.launch(cfg)()
}

// launch starts a control plane, and returns what waits until it is up.
func (p *plane) launch(cfg settings.Config, prepare ...func(*cp.ControlPlane)) (await func()) {
	p.t.Helper()
	c, err := cp.New(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range prepare {
		f(c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		if err := c.Run(ctx); err != nil {
			p.t.Errorf("Run: %v", err)
		}
	}()
	p.end = func() {
		cancel()
		<-ended
	}
	p.t.Cleanup(func() {
		if p.conn != nil {
			p.conn.Close()
		}
		p.end()
	})
	return func() {
		p.t.Helper()
		if p.addrs, err = c.Addrs(ctx); err != nil {
			p.t.Fatal("the control plane did not come up")
		}
	}
}

// sign is a token of the second signing key of the mesh, for an hour if nothing is said.
func sign(t testing.TB, c token.Claims) string {
	t.Helper()
	key, err := token.ParseKey(cptest.SigningKey())
	if err != nil {
		t.Fatal(err)
	}
	if c.ExpiresAt.IsZero() {
		c.ExpiresAt = time.Now().Add(time.Hour)
	}
	raw, err := token.Sign(token.SigningKey{KID: "2", Key: key}, c)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// tls trusts the control plane by the pin of its CA and nothing else.
func (p *plane) tls(protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, VerifyConnection: certs.VerifyPinned(p.pin), NextProtos: protocols}
}

// dial is a connection for ADS, closed with the test.
func (p *plane) dial() *grpc.ClientConn {
	p.t.Helper()
	conn, err := grpc.NewClient(p.addrs.DP.String(), grpc.WithTransportCredentials(credentials.NewTLS(p.tls("h2"))))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	return conn
}

// send sends a request, and reads the answer.
func send(t *testing.T, client *http.Client, r *http.Request) cptest.Response {
	t.Helper()
	got, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return cptest.Response{Status: got.StatusCode, Header: got.Header, Body: string(body)}
}

// rest calls the API, which must do it.
func (p *plane) rest(method, path, body string) string {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.addrs.API.String()+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	got := send(p.t, client, r)
	if got.Status/100 != 2 {
		p.t.Fatalf("%s %s: %d %s", method, path, got.Status, got.Body)
	}
	return got.Body
}

func (p *plane) put(path, body string) { p.t.Helper(); p.rest("PUT", path, body) }
func (p *plane) delete(path string)    { p.t.Helper(); p.rest("DELETE", path, "") }

// apply writes a Dataplane as an operator does.
func (p *plane) apply(name, dataplane string) {
	p.t.Helper()
	p.put("/meshes/default/dataplanes/"+name, dataplane)
}

// permit writes the permission with that name, from these sources to a service.
func (p *plane) permit(name, to string, from ...string) {
	p.t.Helper()
	var sources []string
	for _, s := range from {
		sources = append(sources, fmt.Sprintf(`{"match":{"kuma.io/service":%q}}`, s))
	}
	p.put("/meshes/default/traffic-permissions/"+name, fmt.Sprintf(
		`{"type":"TrafficPermission","mesh":"default","name":%q,"sources":[%s],"destinations":[{"match":{"kuma.io/service":%q}}]}`,
		name, strings.Join(sources, ","), to))
}

// mtls switches mTLS on, with certificates that live that long, or off for "".
func (p *plane) mtls(life string) {
	p.t.Helper()
	enabled := ""
	if life != "" {
		enabled = `"enabledBackend":"ca-1",`
	} else {
		life = "1h"
	}
	p.put("/meshes/default", `{"type":"Mesh","name":"default","mtls":{`+enabled+
		`"backends":[{"name":"ca-1","type":"builtin","dpCert":{"rotation":{"expiration":"`+life+`"}}}]}}`)
}

// contents is all that is in the store, as far as administrators see it.
func (p *plane) contents() string {
	p.t.Helper()
	var all strings.Builder
	for _, k := range policy.Kinds() {
		all.WriteString(p.rest("GET", "/"+k.Path, "") + "\n")
	}
	return all.String()
}

// dataplanes are the names of the Dataplanes in the store.
func (p *plane) dataplanes() string {
	p.t.Helper()
	var list struct{ Items []struct{ Name string } }
	if err := json.Unmarshal([]byte(p.rest("GET", "/meshes/default/dataplanes", "")), &list); err != nil {
		p.t.Fatal(err)
	}
	var names []string
	for _, i := range list.Items {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

// subscription is what is shown of the newest stream of a proxy, and of its certificate.
func (p *plane) subscription(name string) (policy.Subscription, *policy.MTLSInsight) {
	p.t.Helper()
	var o policy.DataplaneOverview
	if err := json.Unmarshal([]byte(p.rest("GET", "/meshes/default/dataplanes/"+name+"/_overview", "")), &o); err != nil {
		p.t.Fatal(err)
	}
	if len(o.Insight.Subscriptions) == 0 {
		return policy.Subscription{}, nil
	}
	return o.Insight.Subscriptions[0], o.Insight.MTLS
}

// metric is the value of a metric, 0 if it is not there.
func (p *plane) metric(name string) int {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), "GET", "http://"+p.addrs.Diagnostics.String()+"/metrics", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	text := send(p.t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, r).Body
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	f, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return int(f)
}

func (p *plane) issued() int { p.t.Helper(); return p.metric("koguma_certificates_issued_total") }

// eventually waits until something has come about.
func (p *plane) eventually(what string, f func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// posts posts JSON, whatever comes of it.
func (p *plane) posts(url, body string) cptest.Response {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return send(p.t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, r)
}
