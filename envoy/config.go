package envoy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"
)

// Config is what one Envoy is started with.
type Config struct {
	// Binary is the path of Envoy itself, or of something that becomes Envoy by exec. See [Find].
	Binary string
	// Bootstrap is what Envoy reads first. It must make Envoy answer its admin requests at AdminSocket.
	Bootstrap []byte
	// Dir is where the bootstrap is kept while Envoy runs. It is made (0700) when it is not there, and then removed
	// afterwards, unless somebody else put something into it.
	Dir string
	// AdminSocket is the absolute path of the admin socket.
	AdminSocket string

	LogLevel          string // "" is Envoy's own default, "info"
	ComponentLogLevel string // such as "upstream:debug,config:trace"; "" is none
	// Concurrency is the number of worker threads. 0 is one for each CPU that Envoy may use.
	Concurrency int
	// DrainTime is how long Envoy lets connections of a listener or a filter chain live that was taken away; rounded
	// up to seconds. 0 is [DefaultDrainTime].
	DrainTime time.Duration
	// Stdout and Stderr get what Envoy writes, each from a goroutine of its own. Nil is nowhere.
	Stdout, Stderr io.Writer

	// The rest is for a [Supervisor].

	// ExitWithEnvoy makes Run end, instead of starting another, when Envoy has ended by itself.
	ExitWithEnvoy bool
	// Grace is how long Envoy has to end between SIGTERM and SIGKILL when Run's context is done. 0 is [DefaultGrace].
	Grace time.Duration
	// OnStart is called, in Run's goroutine, with each process that was started. It may be nil, and must not wait for
	// the process.
	OnStart func(*Process)
	// Log is told about each Envoy that died. Nil is nowhere.
	Log *slog.Logger
}

// The defaults of a [Config].
const (
	DefaultDrainTime = 5 * time.Second
	DefaultGrace     = 5 * time.Second
)

func (c Config) check() error {
	switch {
	case c.Binary == "":
		return errors.New("envoy: no binary")
	case len(c.Bootstrap) == 0:
		return errors.New("envoy: no bootstrap")
	case c.Dir == "":
		return errors.New("envoy: no directory")
	case c.AdminSocket == "":
		return errors.New("envoy: no admin socket")
	case c.Concurrency < 0:
		return fmt.Errorf("envoy: concurrency %d is negative", c.Concurrency)
	case c.DrainTime < 0:
		return fmt.Errorf("envoy: drain time %v is negative", c.DrainTime)
	case c.Grace < 0:
		return fmt.Errorf("envoy: grace %v is negative", c.Grace)
	}
	return nil
}

// args are Envoy's arguments. Anybody on the host can read them.
func (c Config) args(bootstrap string) []string {
	drain := c.DrainTime
	if drain == 0 {
		drain = DefaultDrainTime
	}
	args := []string{
		"--config-path", bootstrap,
		"--drain-time-s", strconv.FormatInt(int64((drain+time.Second-1)/time.Second), 10),
		"--drain-strategy", "immediate",
		"--disable-hot-restart",
	}
	if c.LogLevel != "" {
		args = append(args, "--log-level", c.LogLevel)
	}
	if c.ComponentLogLevel != "" {
		args = append(args, "--component-log-level", c.ComponentLogLevel)
	}
	if c.Concurrency > 0 {
		args = append(args, "--concurrency", strconv.Itoa(c.Concurrency))
	}
	return args
}
