package testenv

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
)

// Agent is a kuma-dp that runs as a process, with a real Envoy.
type Agent struct {
	*Process
	Dir string // its work folder

	ready string
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
	ports, err := FreePorts(1)
	if err != nil {
		return nil, err
	}
	p, err := Start(Command{
		Name: name,
		Path: path,
		Args: slices.Concat([]string{"run", "--binary-path=" + envoy, "--work-dir=" + dir}, args),
		Env:  []string{"KUMA_READINESS_PORT=" + strconv.Itoa(ports[0])},
	})
	if err != nil {
		return nil, err
	}
	return &Agent{Process: p, Dir: dir, ready: fmt.Sprintf("http://127.0.0.1:%d/ready", ports[0])}, nil
}

// AwaitReady waits until the agent says that its Envoy has all it needs.
func (a *Agent) AwaitReady(ctx context.Context) error { return a.AwaitOK(ctx, a.ready) }

// Admin is what the admin interface of the agent's Envoy answers at a path.
func (a *Agent) Admin(ctx context.Context, path string) (string, error) {
	socket, err := filepath.Glob(filepath.Join(a.Dir, "kuma-dp-*", "admin.sock"))
	if err != nil || len(socket) != 1 {
		return "", fmt.Errorf("%s: %d admin sockets in %s", a.Name(), len(socket), a.Dir)
	}
	return AdminGet(ctx, socket[0], path)
}
