package testenv

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
)

// ControlPlane is a kuma-cp that runs as a process.
type ControlPlane struct {
	*Process
	API string // URL of the REST API
	DP  string // URL of the server for data plane proxies

	kumactl string // the configuration file of kumactl
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
		"KUMA_DP_SERVER_INTERFACE=127.0.0.1",
		"KUMA_DP_SERVER_PORT=" + strconv.Itoa(ports[1]),
		"KUMA_DIAGNOSTICS_SERVER_PORT=" + strconv.Itoa(ports[2]),
	}, env...)})
	if err != nil {
		return nil, err
	}
	if err := p.AwaitOK(ctx, fmt.Sprintf("http://127.0.0.1:%d/ready", ports[2])); err != nil {
		p.Kill()
		return nil, err
	}
	cp := &ControlPlane{
		Process: p,
		API:     fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
		DP:      fmt.Sprintf("https://127.0.0.1:%d", ports[1]),
		kumactl: filepath.Join(dir, "kumactl.yaml"),
	}
	if _, err := cp.Kumactl(ctx, "config", "control-planes", "add", "--name=testenv", "--overwrite", "--address="+cp.API); err != nil {
		p.Kill()
		return nil, err
	}
	return cp, nil
}

// Kumactl runs the built kumactl against this control plane and returns what it printed. "-f -" reads nothing; use a
// file.
func (c *ControlPlane) Kumactl(ctx context.Context, args ...string) (string, error) {
	path, err := Binary("kumactl")
	if err != nil {
		return "", err
	}
	return Run(ctx, Command{Name: "kumactl", Path: path, Args: append(args, "--config-file="+c.kumactl)})
}
