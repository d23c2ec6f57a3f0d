package agent

import (
	"path/filepath"

	"koguma/bootstrap"
	"koguma/envoy"
	"koguma/mistake"
)

// newSupervisor prepares Envoy, whose files will be in dir. Its bootstrap needs nothing from the control plane, so Envoy
// starts while the agent connects.
func (a *Agent) newSupervisor(dir string) (*envoy.Supervisor, error) {
	binary, err := envoy.Find(a.cfg.EnvoyBinary)
	if err != nil {
		return nil, mistake.New(mistake.EnvoyMissing, err)
	}
	b, err := bootstrap.Build(bootstrap.Params{
		NodeID:      a.nodeID(),
		Cluster:     a.cluster(),
		AdminSocket: filepath.Join(dir, adminSocket),
		Socket:      filepath.Join(dir, adsSocket),
	})
	if err != nil {
		return nil, err
	}
	data, err := bootstrap.Marshal(b)
	if err != nil {
		return nil, err
	}
	return envoy.New(envoy.Config{
		Binary:            binary,
		Bootstrap:         data,
		Dir:               dir,
		AdminSocket:       filepath.Join(dir, adminSocket),
		LogLevel:          a.cfg.EnvoyLogLevel,
		ComponentLogLevel: a.cfg.EnvoyComponentLogLevel,
		Concurrency:       a.cfg.Concurrency,
		DrainTime:         a.cfg.EnvoyDrainTime,
		Stdout:            a.cfg.Stdout,
		Stderr:            a.cfg.Stderr,
		ExitWithEnvoy:     a.cfg.ExitWithEnvoy,
		OnStart:           func(*envoy.Process) { a.metrics.starts.Inc() },
		Log:               a.cfg.Log,
	})
}

// admin is the admin socket of the Envoy whose files are in dir.
func admin(dir string) envoy.Admin { return envoy.Admin{Socket: filepath.Join(dir, adminSocket)} }
