package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"koguma/policy"
)

// Bare is an Envoy without an agent: it dials the control plane itself, with the bootstrap that it was given there.
type Bare struct {
	*Process
	*Node

	admin string
}

// StartBare starts an Envoy without an agent, and returns when it has its listeners. delta chooses the variant of ADS.
func (m *Mesh) StartBare(p Proxy, delta bool) *Bare {
	m.t.Helper()
	n := m.Node(p)
	dir := m.path("bare-" + n.Dataplane.Name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
	bootstrap, err := m.bootstrap(n, dir, delta)
	if err != nil {
		m.t.Fatal(err)
	}
	config := filepath.Join(dir, "bootstrap.yaml")
	if err := os.WriteFile(config, bootstrap, 0o600); err != nil {
		m.t.Fatal(err)
	}
	path, err := Envoy()
	if err != nil {
		m.t.Fatal(err)
	}
	process, err := Start(Command{Name: "envoy of " + n.Dataplane.Name, Path: path, Args: []string{
		"--config-path", config, "--disable-hot-restart", "--concurrency", "1",
		"--drain-time-s", fmt.Sprint(int(m.o.Drain.Seconds())), "--drain-strategy", "immediate",
	}})
	if err != nil {
		m.t.Fatal(err)
	}
	b := &Bare{Process: process, Node: n, admin: filepath.Join(dir, "kuma-envoy-admin.sock")}
	m.bares = append(m.bares, b)
	ctx, cancel := m.ctx()
	defer cancel()
	err = process.await(ctx, "listen", func() error {
		if _, err := AdminGet(ctx, b.admin, "/ready"); err != nil {
			return err
		}
		c, err := Dial(n.In(n.Dataplane.Services()[0]))
		if err == nil {
			err = c.Close()
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

func (b *Bare) stop() error { return errors.Join(b.close(), b.Stop(10*time.Second)) }

// bootstrap asks the control plane for the bootstrap of an Envoy.
func (m *Mesh) bootstrap(n *Node, dir string, delta bool) ([]byte, error) {
	definition, err := policy.Encode(n.Dataplane)
	if err != nil {
		return nil, err
	}
	request := map[string]any{
		"mesh": n.Dataplane.Mesh, "name": n.Dataplane.Name, "proxyType": "dataplane", "workdir": dir,
		"dataplaneToken": string(n.Token), "dataplaneResource": string(definition),
	}
	if delta {
		request["features"] = []string{"feature-delta-grpc"}
	}
	body, err := policy.Encode(request)
	if err != nil {
		return nil, err
	}
	pinned, err := PinnedTLS(n.Token)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: pinned, DisableKeepAlives: true}}
	resp, err := client.Post(m.CP.DP+"/bootstrap", "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("POST /bootstrap: %s %s", resp.Status, answer)
	}
	return answer, err
}
