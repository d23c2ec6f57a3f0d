package testenv

import (
	"context"
	"fmt"
	"regexp"
)

// ControlPlane is a kuma-cp that runs as a process.
type ControlPlane struct {
	*Process
	API         string // URL of the REST API
	DP          string // URL of the server for data plane proxies
	Diagnostics string // URL of health and metrics

	home string // of the operator, as kumactl sees it
}

// StartControlPlane starts the built kuma-cp on ports that the kernel chooses, its store in dir, and returns when it is
// ready. What env says ("KUMA_STORE_TYPE=memory") comes on top.
func StartControlPlane(ctx context.Context, dir string, env ...string) (*ControlPlane, error) {
	path, err := Binary("kuma-cp")
	if err != nil {
		return nil, err
	}
	p, err := Start(Command{Name: "kuma-cp", Path: path, Args: []string{"run"}, Dir: dir, Env: append(ControlPlaneEnv(dir), env...)})
	if err != nil {
		return nil, err
	}
	cp := &ControlPlane{Process: p, home: dir}
	if err := cp.await(ctx); err != nil {
		p.Kill()
		return nil, err
	}
	return cp, nil
}

// ControlPlaneEnv is the environment of a control plane that keeps to dir, and to ports of this host that the kernel chooses.
func ControlPlaneEnv(dir string) []string {
	return []string{
		"KUMA_GENERAL_WORK_DIR=" + dir,
		"KUMA_API_SERVER_HTTP_PORT=0",
		"KUMA_DP_SERVER_INTERFACE=127.0.0.1",
		"KUMA_DP_SERVER_PORT=0",
		"KUMA_DIAGNOSTICS_SERVER_PORT=0",
		"KUMA_ADMIN_SERVER_LOCAL_PORT=0",
		"KUMA_INTER_CP_SERVER_INTERFACE=127.0.0.1",
		"KUMA_INTER_CP_SERVER_PORT=0",
	}
}

// LastingAddresses is the part of a control plane's environment that gives it addresses which are the same after a restart.
func LastingAddresses() (env []string, err error) {
	host := Loopback()
	ports, err := FreePorts(host, 3)
	if err != nil {
		return nil, err
	}
	return []string{
		"KUMA_API_SERVER_HTTP_INTERFACE=" + host, fmt.Sprint("KUMA_API_SERVER_HTTP_PORT=", ports[0]),
		"KUMA_DP_SERVER_INTERFACE=" + host, fmt.Sprint("KUMA_DP_SERVER_PORT=", ports[1]),
		"KUMA_DIAGNOSTICS_INTERFACE=" + host, fmt.Sprint("KUMA_DIAGNOSTICS_SERVER_PORT=", ports[2]),
	}, nil
}

var isUp = regexp.MustCompile(`the control plane is up.* api=(\S+) dp=(\S+) diagnostics=(\S+)`)

// await learns the ports, waits until all is ready, and tells kumactl of it.
func (c *ControlPlane) await(ctx context.Context) error {
	address, err := c.AwaitOutput(ctx, isUp)
	if err != nil {
		return err
	}
	c.API, c.DP, c.Diagnostics = "http://"+address[0], "https://"+address[1], "http://"+address[2]
	if err := c.AwaitOK(ctx, c.Diagnostics+"/ready"); err != nil {
		return err
	}
	// Overwrite, because the folder may be that of a control plane before this one.
	_, err = c.Kumactl(ctx, "config", "control-planes", "add", "--name=testenv", "--address="+c.API, "--overwrite")
	return err
}

// Kumactl runs the built kumactl against this control plane and returns what it printed.
func (c *ControlPlane) Kumactl(ctx context.Context, args ...string) (string, error) {
	path, err := Binary("kumactl")
	if err != nil {
		return "", err
	}
	return Run(ctx, Command{Name: "kumactl", Path: path, Args: args, Env: []string{"HOME=" + c.home}})
}

// Metric is the value of a metric, by its name and labels as they are printed.
func (c *ControlPlane) Metric(ctx context.Context, name string) (string, error) {
	return metric(ctx, c.Diagnostics+"/metrics", name)
}
