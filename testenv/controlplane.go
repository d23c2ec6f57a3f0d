package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// ControlPlane is a kuma-cp that runs as a process.
type ControlPlane struct {
	*Process
	API string // URL of the REST API
	DP  string // URL of the server for data plane proxies
}

// StartControlPlane starts the built kuma-cp on ports that the kernel chose, its store in dir, and returns when it is
// ready. What env says ("KUMA_STORE_TYPE=memory") comes on top.
func StartControlPlane(ctx context.Context, dir string, env ...string) (*ControlPlane, error) {
	path, err := Binary("kuma-cp")
	if err != nil {
		return nil, err
	}
	ports, err := FreePorts(3)
	if err != nil {
		return nil, err
	}
	p, err := Start(Command{Name: "kuma-cp", Path: path, Args: []string{"run"}, Dir: dir, Env: append([]string{
		"KUMA_GENERAL_WORK_DIR=" + dir,
		"KUMA_API_SERVER_HTTP_INTERFACE=127.0.0.1",
		"KUMA_API_SERVER_HTTP_PORT=" + strconv.Itoa(ports[0]),
		"KUMA_DP_SERVER_PORT=" + strconv.Itoa(ports[1]),
		"KUMA_DIAGNOSTICS_SERVER_PORT=" + strconv.Itoa(ports[2]),
	}, env...)})
	if err != nil {
		return nil, err
	}
	if err := p.AwaitReady(ctx, fmt.Sprintf("http://127.0.0.1:%d/ready", ports[2])); err != nil {
		p.Kill()
		return nil, err
	}
	return &ControlPlane{
		Process: p,
		API:     fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
		DP:      fmt.Sprintf("https://127.0.0.1:%d", ports[1]),
	}, nil
}

// AwaitReady waits until the URL answers 200, for 20 seconds at most. A process that ends instead is an error.
func (p *Process) AwaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err := Eventually(ctx, p.name+" to be ready", func() error {
		if p.Running() != nil {
			return nil // and never will be
		}
		status, body, err := Get(ctx, url)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%s answers %d %s", url, status, body)
		}
		return err
	})
	if ended := p.Running(); ended != nil {
		return ended
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w\n%s", err, p.Tail(20))
	}
	return err
}
