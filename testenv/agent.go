package testenv

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
)

// Agent is a kuma-dp that runs as a process, with a real Envoy.
type Agent struct {
	*Process
	Dir string // its work folder
}

// StartAgent starts the built kuma-dp. Its work folder is dir, which it makes itself, below one that exists; args is the
// rest of the command line after "run".
func StartAgent(name, dir string, args ...string) (*Agent, error) {
	path, err := Binary("kuma-dp")
	if err != nil {
		return nil, err
	}
	envoy, err := Envoy()
	if err != nil {
		return nil, err
	}
	p, err := Start(Command{
		Name: name,
		Path: path,
		Args: slices.Concat([]string{"run", "--binary-path=" + envoy, "--work-dir=" + dir}, args),
	})
	if err != nil {
		return nil, err
	}
	return &Agent{Process: p, Dir: dir}, nil
}

var readiness = regexp.MustCompile(`msg=readiness.* url=(http://\S+)/ready`)

// readiness is the URL below which the agent tells of itself, at the port that it printed.
func (a *Agent) readiness(ctx context.Context) (string, error) {
	url, err := a.AwaitOutput(ctx, readiness)
	if err != nil {
		return "", err
	}
	return url[0], nil
}

// AwaitReady waits until the agent says that its Envoy has all it needs.
func (a *Agent) AwaitReady(ctx context.Context) error {
	url, err := a.readiness(ctx)
	if err != nil {
		return err
	}
	return a.AwaitOK(ctx, url+"/ready")
}

// Connected is whether the agent has a stream to the control plane by which it was let in.
func (a *Agent) Connected(ctx context.Context) (bool, error) {
	url, err := a.readiness(ctx)
	if err != nil {
		return false, err
	}
	value, err := metric(ctx, url+"/metrics", "kuma_dp_control_plane_connected")
	return value == "1", err
}

// Metric is the value of a metric of the agent, by its name and labels as they are printed.
func (a *Agent) Metric(ctx context.Context, name string) (string, error) {
	url, err := a.readiness(ctx)
	if err != nil {
		return "", err
	}
	return metric(ctx, url+"/metrics", name)
}

// Admin is what the admin interface of the agent's Envoy answers at a path.
func (a *Agent) Admin(ctx context.Context, path string) (string, error) {
	socket, err := filepath.Glob(filepath.Join(a.Dir, "kuma-dp-*", "admin.sock"))
	if err != nil || len(socket) != 1 {
		return "", fmt.Errorf("%s: %d admin sockets in %s", a.Name(), len(socket), a.Dir)
	}
	return AdminGet(ctx, socket[0], path)
}

// EnvoyPID is the process id of the agent's Envoy, 0 while it has none.
func (a *Agent) EnvoyPID() int {
	for _, pid := range Descendants(a.PID()) {
		if Alive(pid) {
			return pid
		}
	}
	return 0
}
