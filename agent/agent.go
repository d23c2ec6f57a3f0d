// Package agent is what kuma-dp does: it stands between one Envoy and the control plane.
//
// Upwards it keeps one stream to the control plane, authenticated by a token. Downwards it is the discovery server of
// its Envoy, on a socket that only its own user can reach, and answers from memory: an Envoy that restarts while the
// control plane is away is back at once. In between it makes the private key of the workload, which leaves the process
// towards Envoy only and touches no disk, joins it with the certificates that the control plane signs, and renews them
// in time.
//
// The agent acknowledges to the control plane what its Envoy has taken, and hands up Envoy's own words where it has
// refused. Envoy never sees the token.
package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"koguma/xds"
)

// Agent runs one Envoy. Make one with [New].
type Agent struct {
	cfg      Config
	instance string          // tells a second stream of this agent from one of another that took its name
	planes   []*controlPlane // at least one, in the order in which they are tried
	token    *credential
	identity *identity
	state    *state
	ratchet  *ratchet
	outage   outage
	history  *history
	metrics  *metrics
	denials  *denials

	plaintext *plaintext
	base      []string // the secrets that are asked for in any case

	leave    chan struct{} // closed when the control plane is to be told that the proxy goes
	hurry    chan struct{} // closed when nothing is to be waited for any more
	hurryOne sync.Once
	leaving  atomic.Bool
}

// New checks the configuration. It opens nothing. The error says which setting is wrong, and never has a token in it.
func New(cfg Config) (*Agent, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	planes, err := newControlPlanes(cfg)
	if err != nil {
		return nil, err
	}
	cred, err := newCredential(cfg)
	if err != nil {
		return nil, err
	}
	id, err := newIdentity(cfg.Mesh)
	if err != nil {
		return nil, err
	}
	guard := newRatchet(cfg.Mesh)
	m := newMetrics(id, cred, guard)
	a := &Agent{
		cfg:       cfg,
		instance:  rand.Text(),
		base:      secretNames(cfg),
		planes:    planes,
		token:     cred,
		identity:  id,
		state:     newState(),
		ratchet:   guard,
		history:   newHistory(),
		metrics:   m,
		denials:   newDenials(cfg.Log, m.denied),
		plaintext: newPlaintext(),
		leave:     make(chan struct{}),
		hurry:     make(chan struct{}),
	}
	a.metrics.registry.MustRegister(expiries{a}, a.history.renewals, a.history.moves)
	return a, nil
}

// Hurry cuts the waiting for open connections short once ctx of [Agent.Run] has ended. It may be called from anywhere
// and any number of times.
func (a *Agent) Hurry() { a.hurryOne.Do(func() { close(a.hurry) }) }

// Run starts Envoy and serves it until ctx ends. Then it says good-bye: the readiness turns, the control plane is told,
// Envoy closes its listeners, open connections get the drain time to end, and Envoy is stopped. Run returns earlier, with
// an error, when there is no good token in the file at the start, when the control plane refuses the proxy before it has
// ever let it in, or when Envoy cannot be started. When it returns there is no process, no file and no goroutine left of it.
func (a *Agent) Run(ctx context.Context) (err error) {
	if err := a.token.source.Load(); err != nil {
		return err
	}
	sweep(a.cfg.WorkDir)
	dir, remove, err := makeDir(a.cfg.WorkDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	process, err := a.newSupervisor(dir)
	if err != nil {
		return err
	}
	ads, err := listenSocket(filepath.Join(dir, adsSocket))
	if err != nil {
		return err
	}
	ready, err := a.listenReadiness()
	if err != nil {
		return errors.Join(err, ads.Close())
	}

	programs, removeSocket, err := a.listenWorkloadAPI()
	if err != nil {
		return errors.Join(err, ads.Close(), ready.Close())
	}
	defer removeSocket()

	// What is under way goes on while the agent drains, so it does not end with ctx.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, running := errgroup.WithContext(running)
	withEnvoy, stopEnvoy := context.WithCancel(running)
	defer stopEnvoy()
	gone, parted := make(chan struct{}), make(chan struct{})
	group.Go(func() error { defer close(gone); return notStarted(process.Run(withEnvoy)) })
	group.Go(func() error { return a.serveADS(running, ads) })
	group.Go(func() error { return a.serveReadiness(running, ready, admin(dir)) })
	group.Go(func() error { a.announce(running, admin(dir)); return nil })
	group.Go(func() error { return a.serveWorkloadAPI(running, programs) })
	group.Go(func() error { return a.token.source.Run(running) })
	group.Go(func() error { a.token.warn(running); return nil })
	group.Go(func() error { a.denials.run(running); return nil })
	group.Go(func() error { a.plaintext.run(running, admin(dir), a.state.listens); return nil })
	group.Go(func() error { defer close(parted); return a.stayConnected(running) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			a.drain(running, admin(dir))
		case <-running.Done(): // something failed
		case <-gone: // Envoy ended, and the agent is to end with it
		}
		stopEnvoy()
		<-gone
		if ctx.Err() != nil {
			wait(running, parted)
		}
		stop()
		return nil
	})
	return group.Wait()
}

// parting is how long the control plane has to hear that the proxy goes. An attempt to connect takes longer, and is cut.
const parting = time.Second

func wait(ctx context.Context, done <-chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, parting)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// The files of the agent, in a directory of their own.
const (
	adsSocket   = "ads.sock"
	adminSocket = "admin.sock"
	dirPattern  = "kuma-dp-*"
)

// makeDir makes a directory that nobody else can look into, inside of parent, which is made too if it is not there; and
// the function that removes what was made. An empty parent is that of temporary files.
func makeDir(parent string) (dir string, remove func() error, err error) {
	made := false
	if parent != "" {
		if parent, err = filepath.Abs(parent); err != nil {
			return "", nil, err
		}
		if err := os.Mkdir(parent, 0o700); err == nil {
			made = true
		} else if !errors.Is(err, os.ErrExist) {
			return "", nil, fmt.Errorf("work directory: %w", err)
		}
	}
	if dir, err = os.MkdirTemp(parent, dirPattern); err != nil {
		return "", nil, fmt.Errorf("work directory: %w", err)
	}
	return dir, func() error {
		err := os.RemoveAll(dir)
		if made {
			_ = os.Remove(parent) // another agent may live in it by now
		}
		return err
	}, nil
}

func listenSocket(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket for envoy: %w", err)
	}
	// The directory already keeps everybody else out.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// secretNames are the secrets that the agent asks for before its Envoy does: the CA's, and the identity of each service
// as far as they are known here. A Dataplane that only the control plane knows has at least one.
func secretNames(cfg Config) []string {
	names := []string{xds.CASecretName(cfg.Mesh)}
	services := []string{""}
	if cfg.Dataplane != nil {
		services = cfg.Dataplane.Services()
	}
	for i, service := range services {
		names = append(names, xds.IdentitySecretName(cfg.Mesh, service, i == 0))
	}
	return names
}
