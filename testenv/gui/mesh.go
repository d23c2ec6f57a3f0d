package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"koguma/policy"
	"koguma/testenv"
	"koguma/token"
)

// shop is a mesh of a few services, not all of which are well.
type shop struct {
	dir     string
	env     []string // of the control plane
	cp      *testenv.ControlPlane
	proxies map[string]*proxy
	squat   net.Listener // at the port of search, which can therefore not be opened
}

// proxy is an agent with a real Envoy.
type proxy struct {
	service string
	dials   []string
	life    string // of its token
	token   string
	agent   *testenv.Agent
}

// cast is who is in the mesh.
func cast() map[string]*proxy {
	return map[string]*proxy{
		"web-1":      {service: "web", dials: []string{"orders", "search"}, life: "720h"},
		"web-2":      {service: "web", dials: []string{"orders", "search"}, life: "720h"},
		"orders-1":   {service: "orders", dials: []string{"payments", "ledger"}, life: "720h"},
		"payments-1": {service: "payments", dials: []string{"ledger"}, life: "20m"}, // about to end
		"ledger-1":   {service: "ledger", life: "2160h"},
		"search-1":   {service: "search", life: "720h"}, // whose port is taken
		"mailer-1":   {service: "mailer", dials: []string{"orders"}, life: "168h"},
	}
}

const meshYAML = `type: Mesh
name: default
mtls:
  enabledBackend: %s
  backends:
    - {name: ca-1, type: builtin, dpCert: {rotation: {expiration: 24h}}}
    - {name: ca-2, type: builtin, dpCert: {rotation: {expiration: 24h}}}
`

// legacy is a Dataplane that nobody stands for.
const legacy = `type: Dataplane
mesh: default
name: legacy-1
networking:
  address: 127.0.0.9
  inbound:
    - {port: 9000, tags: {kuma.io/service: legacy, kuma.io/protocol: tcp}}
`

// permission is that the one service may reach the other.
func permission(from, to string) string {
	return fmt.Sprintf("type: TrafficPermission\nmesh: default\nname: %s-to-%s\nsources:\n  - match: {kuma.io/service: %s}\n"+
		"destinations:\n  - match: {kuma.io/service: %s}\n", from, to, from, to)
}

// openShop starts the control plane and all proxies, and returns when those that can be ready are.
func openShop(ctx context.Context, dir string) (s *shop, err error) {
	s = &shop{dir: dir, proxies: cast()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for _, sub := range []string{"cp", "agents", "files"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return s, err
		}
	}
	if s.env, err = testenv.LastingAddresses(); err != nil {
		return s, err
	}
	if err := s.startCP(ctx); err != nil {
		return s, err
	}
	documents := []string{fmt.Sprintf(meshYAML, "ca-1"), legacy,
		permission("web", "search"), permission("orders", "payments"), permission("payments", "ledger"), permission("mailer", "orders")}
	if err := s.apply(ctx, strings.Join(documents, "---\n")); err != nil {
		return s, err
	}
	for name, p := range s.proxies {
		if err := s.launch(ctx, name, p); err != nil {
			return s, err
		}
	}
	for name, p := range s.proxies {
		if name == "search-1" {
			continue
		}
		if err := p.agent.AwaitReady(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

// startCP starts the control plane, again if it has ended: with the same store and the same addresses.
func (s *shop) startCP(ctx context.Context) (err error) {
	s.cp, err = testenv.StartControlPlane(ctx, filepath.Join(s.dir, "cp"), s.env...)
	return err
}

func (s *shop) apply(ctx context.Context, yaml string) error {
	file := filepath.Join(s.dir, "files", "applied.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		return err
	}
	_, err := s.cp.Kumactl(ctx, "apply", "-f", file)
	return err
}

// launch makes a token for a proxy and starts its agent.
func (s *shop) launch(ctx context.Context, name string, p *proxy) error {
	address := testenv.Loopback()
	ports, err := testenv.FreePorts(address, 2+len(p.dials))
	if err != nil {
		return err
	}
	d := &policy.Dataplane{Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: "default", Name: name}}
	d.Networking.Address = address
	d.Networking.Inbound = []policy.Inbound{{
		Port: ports[0], ServicePort: ports[1], Tags: map[string]string{policy.TagService: p.service, policy.TagProtocol: "http"},
	}}
	for i, to := range p.dials {
		d.Networking.Outbound = append(d.Networking.Outbound, policy.Outbound{
			Address: address, Port: ports[2+i], Tags: map[string]string{policy.TagService: to},
		})
	}
	if name == "search-1" {
		if s.squat, err = net.Listen("tcp", net.JoinHostPort(address, fmt.Sprint(ports[0]))); err != nil {
			return err
		}
	}
	definition, err := policy.EncodeYAML(d)
	if err != nil {
		return err
	}
	raw, err := s.cp.Kumactl(ctx, "generate", "dataplane-token", "--mesh=default", "--name="+name, "--tag=kuma.io/service="+p.service, "--valid-for="+p.life)
	if err != nil {
		return err
	}
	p.token = strings.TrimSpace(raw)
	tokenFile, dataplaneFile := filepath.Join(s.dir, "files", name+".token"), filepath.Join(s.dir, "files", name+".yaml")
	if err := errors.Join(os.WriteFile(tokenFile, []byte(p.token), 0o600), os.WriteFile(dataplaneFile, definition, 0o600)); err != nil {
		return err
	}
	p.agent, err = testenv.StartAgent("kuma-dp of "+name, filepath.Join(s.dir, "agents", name),
		"--cp-address="+s.cp.DP, "--dataplane-token-file="+tokenFile, "--dataplane-file="+dataplaneFile, "--concurrency=1", "--drain-time=0s")
	return err
}

// intrude asks for a bootstrap without a token that is good, under any name.
func (s *shop) intrude(ctx context.Context, name string) error {
	body, err := json.Marshal(map[string]string{"mesh": "default", "name": name, "workdir": "/tmp", "dataplaneToken": "bad"})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cp.DP+"/bootstrap", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	anybody := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	answer, err := anybody.Do(r)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// revoke takes a proxy's token away.
func (s *shop) revoke(ctx context.Context, name string) error {
	claims, err := token.Inspect(token.Raw(s.proxies[name].token))
	if err != nil {
		return err
	}
	_, err = s.cp.Kumactl(ctx, "revoke", "dataplane-token", "--mesh=default", "--jti="+claims.ID)
	return err
}

// rotate begins a rotation of the CA that waits for mailer-1, whose agent is stopped in its tracks.
func (s *shop) rotate(ctx context.Context) error {
	if err := s.proxies["mailer-1"].agent.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return s.apply(ctx, fmt.Sprintf(meshYAML, "ca-2"))
}

// goOn wakes mailer-1, so that the rotation ends.
func (s *shop) goOn() error { return s.proxies["mailer-1"].agent.Signal(syscall.SIGCONT) }

// close ends all that was started.
func (s *shop) close() error {
	errs := make(chan error, len(s.proxies))
	for _, p := range s.proxies {
		go func() {
			if p.agent == nil {
				errs <- nil
				return
			}
			_ = p.agent.Signal(syscall.SIGCONT)
			errs <- p.agent.Stop(10 * time.Second)
		}()
	}
	var all []error
	for range s.proxies {
		all = append(all, <-errs)
	}
	if s.cp != nil {
		all = append(all, s.cp.Stop(10*time.Second))
	}
	if s.squat != nil {
		all = append(all, s.squat.Close())
	}
	return errors.Join(all...)
}
