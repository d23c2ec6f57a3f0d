package agent

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"koguma/certs"
	"koguma/mistake"
	"koguma/policy"
	"koguma/token"
)

// Config is what an agent is told. The zero value of an optional field stands for the default that its comment names.
type Config struct {
	// Name and Mesh are whose proxy this is. With a Dataplane they may be empty, or must be the same as in it.
	Name string
	Mesh string // "default"
	// Dataplane is registered by the agent; nil if an operator has applied it already.
	Dataplane *policy.Dataplane

	// CPAddresses are the control planes: https://host:port is a DP server. If there is one only, it may be http://host:port,
	// its API, which is asked only where the DP server is. Several have one store and so one CA; the proxy is with one of
	// them, any at first, and moves on when that one is gone. None: [DefaultCPAddress].
	CPAddresses []string
	// CACert has the certificates, in PEM, of the authorities that the DP server's certificate may come from. Empty:
	// the one that the token pins; if it pins none, LocalCA's; if that finds none, those of the system.
	CACert []byte
	// CACertFile is the file that CACert was read from, if there is one, to name it in an error.
	CACertFile string
	// LocalCA finds the CA, in PEM, of a control plane on this host; nothing if there is none. nil: there never is. It is
	// asked before each connection that needs it.
	LocalCA func() ([]byte, error)
	// TokenFile has the token, and is followed: another token in it is taken up without a break. Token is the token
	// itself, for as long as the agent runs. Without either, the control plane must have its authentication switched off.
	TokenFile string
	Token     token.Raw
	// RetryBackoff bounds the pause between two attempts to connect before the proxy has ever been let in; RetryMax is
	// how long the attempts go on.
	RetryBackoff time.Duration // 3s
	RetryMax     time.Duration // 5m

	EnvoyBinary            string // "envoy", searched for as [envoy.Find] says
	EnvoyLogLevel          string // Envoy's own default
	EnvoyComponentLogLevel string
	Concurrency            int           // worker threads; 0 lets Envoy decide
	EnvoyDrainTime         time.Duration // 5s; how long a withdrawal takes on open connections
	ExitWithEnvoy          bool          // end when Envoy does, instead of starting it again

	DrainTime time.Duration // how long a shutdown waits for open connections
	// WorkDir is where the agent makes its own directory for sockets and the bootstrap. "": that of temporary files.
	WorkDir string
	// WorkloadAPISocket is the path of the socket at which programs beside the agent get the identity by the SPIFFE Workload
	// API. "": there is none.
	WorkloadAPISocket string
	// ReadinessPort is the port of /ready, /identity and /metrics on 127.0.0.1. 0: 9902, or any other if that is taken.
	ReadinessPort int

	OnReady func()       // is called once, when the proxy is ready for the first time; nil: nobody wants to know
	Version string       // of kuma-dp, as it is shown to operators
	Log     *slog.Logger // nil: nothing is logged
	// Stdout and Stderr are Envoy's. nil: discarded.
	Stdout, Stderr io.Writer
}

// The defaults of [Config].
const (
	DefaultMesh           = "default"
	DefaultCPAddress      = "https://localhost:5678"
	DefaultRetryBackoff   = 3 * time.Second
	DefaultRetryMax       = 5 * time.Minute
	DefaultEnvoyDrainTime = 5 * time.Second
	DefaultDrainTime      = 30 * time.Second
	DefaultReadinessPort  = 9902
)

// complete fills in the defaults, and checks everything but the token and the CA.
func (c *Config) complete() error {
	if len(c.CPAddresses) == 0 {
		c.CPAddresses = []string{DefaultCPAddress}
	}
	c.RetryBackoff = cmp.Or(c.RetryBackoff, DefaultRetryBackoff)
	c.RetryMax = cmp.Or(c.RetryMax, DefaultRetryMax)
	c.EnvoyDrainTime = cmp.Or(c.EnvoyDrainTime, DefaultEnvoyDrainTime)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	c.Stdout = orDiscard(c.Stdout)
	c.Stderr = orDiscard(c.Stderr)
	if err := c.checkNames(); err != nil {
		return mistake.New(mistake.DataplaneInvalid, err)
	}
	if c.WorkloadAPISocket != "" {
		var err error
		if c.WorkloadAPISocket, err = checkSocketPath(c.WorkloadAPISocket); err != nil {
			return fmt.Errorf("--workload-api-socket: %w", err)
		}
	}
	switch {
	case c.RetryBackoff < 0, c.RetryMax < 0, c.EnvoyDrainTime < 0, c.DrainTime < 0:
		return errors.New("a negative duration; the retry and drain times are at least 0s")
	case c.EnvoyDrainTime%time.Second != 0:
		return fmt.Errorf("envoy's drain time %v: it takes whole seconds only", c.EnvoyDrainTime)
	case c.Concurrency < 0:
		return fmt.Errorf("concurrency %d: at least 0", c.Concurrency)
	case c.ReadinessPort < 0 || c.ReadinessPort > 65535:
		return fmt.Errorf("readiness port %d: choose one of 1 to 65535", c.ReadinessPort)
	}
	return nil
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// checkNames settles whose proxy this is.
func (c *Config) checkNames() error {
	if d := c.Dataplane; d != nil {
		if err := d.Validate(); err != nil {
			return fmt.Errorf("dataplane definition: %w", err)
		}
		if c.Name != "" && c.Name != d.Name {
			return fmt.Errorf("--name %q differs from the name %q of the dataplane definition; leave --name out", c.Name, d.Name)
		}
		if c.Mesh != "" && c.Mesh != d.Mesh {
			return fmt.Errorf("--mesh %q differs from the mesh %q of the dataplane definition; leave --mesh out", c.Mesh, d.Mesh)
		}
		c.Name, c.Mesh = d.Name, d.Mesh
	}
	c.Mesh = cmp.Or(c.Mesh, DefaultMesh)
	if c.Name == "" {
		return errors.New("no name; give --name (of a Dataplane that has been applied), or a definition with --dataplane-file")
	}
	if err := policy.ValidName(c.Name); err != nil {
		return fmt.Errorf("--name %q: %w", c.Name, err)
	}
	if err := policy.ValidMeshName(c.Mesh); err != nil {
		return fmt.Errorf("--mesh %q: %w", c.Mesh, err)
	}
	return nil
}

// parseCA reads the certificates that an operator gave for the DP server.
func parseCA(pem []byte, now time.Time) (*x509.CertPool, error) {
	list, err := certs.ParseChain(pem)
	if err != nil {
		return nil, fmt.Errorf("CA of the control plane: %w", err)
	}
	pool := x509.NewCertPool()
	for _, c := range list {
		switch {
		case !c.IsCA:
			return nil, fmt.Errorf("CA of the control plane: the certificate %q is not that of a CA", c.Subject)
		case now.After(c.NotAfter):
			return nil, fmt.Errorf("CA of the control plane: the certificate %q expired at %s", c.Subject,
				c.NotAfter.UTC().Format(time.RFC3339))
		}
		pool.AddCert(c)
	}
	return pool, nil
}
