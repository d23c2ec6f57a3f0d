package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"time"

	"koguma/certs"
	"koguma/policy"
	"koguma/testenv"
)

// drain is how long Envoy lets a connection live whose permission is gone.
const drain = 5 * time.Second

// requests sends requests to backend through the proxies of web and intruder until each has got the answer that it
// should, and says what the answers are.
func (d *demo) requests(ctx context.Context, web, intruder bool) (string, error) {
	var seen [2]string
	for i, allowed := range []bool{web, intruder} {
		var err error
		if seen[i], err = d.services[i+1].await(ctx, allowed); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("web: %s, intruder: %s", seen[0], seen[1]), nil
}

// await sends requests to backend until five in a row, which is when a change has settled, got the same answer and that
// is as it should be.
func (s *service) await(ctx context.Context, allowed bool) (string, error) {
	var last string
	times := 0
	err := testenv.Eventually(ctx, s.name+"'s requests to be judged rightly", func() error {
		answer, ok := s.request(ctx)
		if answer != last || ok != allowed {
			last, times = answer, 0
		}
		if times++; times < 5 || ok != allowed {
			return fmt.Errorf("got %s", answer)
		}
		return nil
	})
	return last, err
}

// url is a path of backend, by way of the proxy of s.
func (s *service) url(path string) string {
	return fmt.Sprintf("http://%s:%d%s", s.address, s.outbound, path)
}

// request sends one request to backend through the proxy of s.
func (s *service) request(ctx context.Context) (answer string, ok bool) {
	status, body, err := testenv.Get(ctx, s.url("/"))
	switch {
	case err != nil:
		return "connection closed", false
	case status == http.StatusOK:
		return "200", true
	default:
		return fmt.Sprintf("%d %s", status, strings.TrimSpace(body)), false
	}
}

// readCertificate looks at what backend's proxy presents to whoever connects, and checks it against the mesh's CA.
func (d *demo) readCertificate(ctx context.Context) (string, error) {
	backend := d.services[0]
	chain, err := testenv.ServerChain(ctx, fmt.Sprintf("%s:%d", backend.address, backend.inbound), "")
	if err != nil {
		return "", err
	}
	id, err := certs.WorkloadID("default", "backend")
	if err != nil {
		return "", err
	}
	roots, err := d.roots(ctx)
	if err != nil {
		return "", err
	}
	if err := certs.Check(chain, roots, id, time.Now()); err != nil {
		return "", err
	}
	leaf := chain[0]
	return fmt.Sprintf("%v, good for %.0f h, issued by %v", leaf.URIs[0], leaf.NotAfter.Sub(leaf.NotBefore).Hours(), leaf.Issuer), nil
}

// roots are the CA certificates of the mesh.
func (d *demo) roots(ctx context.Context) ([]*x509.Certificate, error) {
	out, err := d.cp.Kumactl(ctx, "get", "secret", policy.CACertName("default", "ca-1"), "--mesh=default", "-o=json")
	if err != nil {
		return nil, err
	}
	var secret policy.Secret
	if err := policy.Decode([]byte(out), &secret); err != nil {
		return nil, err
	}
	return certs.ParseChain(secret.Data)
}

// searchSecrets looks for the tokens, and for anything that looks like a private key, wherever one must not be: all
// files but the three that hold the tokens and the store of the control plane, the argument list and environment of
// every process, every log, and what each Envoy tells of its configuration.
func (d *demo) searchSecrets(ctx context.Context) (string, error) {
	needles := testenv.KeyMarks()
	logs := map[string][]byte{"log of kuma-cp": []byte(d.cp.Output())}
	pids := []int{d.cp.PID()}
	for _, s := range d.services {
		needles = append(needles, s.token)
		logs["log of "+s.agent.Name()] = []byte(s.agent.Output())
		pids = append(append(pids, s.agent.PID()), testenv.Descendants(s.agent.PID())...)
		for _, path := range []string{"/config_dump?include_eds", "/certs", "/server_info"} {
			dump, err := s.agent.Admin(ctx, path)
			if err != nil {
				return "", err
			}
			logs[path+" of "+s.name+"'s Envoy"] = []byte(dump)
		}
	}
	known := []string{d.path("tokens"), d.path("cp", "koguma.db")}
	found, _, err := testenv.FindSecret(testenv.Places{Dirs: known}, needles...)
	if err != nil || len(found) != 4 {
		return "", fmt.Errorf("the search does not even find what is there: only %q, %v", found, err)
	}
	found, looked, err := testenv.FindSecret(testenv.Places{Dirs: []string{d.dir}, Except: known, PIDs: pids, Data: logs}, needles...)
	if err != nil || len(found) > 0 {
		return "", fmt.Errorf("found in %q, %v", found, err)
	}
	return fmt.Sprintf("none in %d files, argument lists, environments, logs and Envoy dumps (token files and store apart)", looked), nil
}

// forbid takes the permission away while a response of backend to web is under way.
func (d *demo) forbid(ctx context.Context) (string, error) {
	web := d.services[1]
	live, err := testenv.OpenStream(ctx, web.url("/stream"))
	if err != nil {
		return "", err
	}
	defer live.Close()
	begin := time.Now()
	if _, err := d.cp.Kumactl(ctx, "delete", "traffic-permission", "web-to-backend", "--mesh=default"); err != nil {
		return "", err
	}
	answer, err := web.await(ctx, false)
	if err != nil {
		return "", err
	}
	denied := time.Since(begin)
	select {
	case end := <-live.Closed:
		took := end.Sub(begin)
		if took > drain+time.Second {
			return "", fmt.Errorf("its live connection was closed only after %v", took)
		}
		return fmt.Sprintf("web: %s after %.2f s; its live connection closed after %.2f s", answer, denied.Seconds(), took.Seconds()), nil
	case <-ctx.Done():
		return "", fmt.Errorf("its live connection was not closed: %w", ctx.Err())
	}
}
