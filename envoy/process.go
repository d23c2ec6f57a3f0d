package envoy

import (
	"fmt"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one running Envoy, or one that has ended.
type Process struct {
	cmd      *exec.Cmd
	files    *files
	log      *tail
	stopping atomic.Bool
	done     chan struct{}
	err      error // set before done is closed
}

// Start starts an Envoy in a process group of its own, so that a Ctrl-C in the terminal is the caller's to act on.
//
// Such an Envoy ends in one of these ways. In each but the last, its files are removed, [Process.Done] is closed, and
// then [Process.Err] says which it was:
//   - [Process.Stop] asked it to: nil, also when it took a SIGKILL to make it;
//   - it ended by itself, with whatever exit code, or by a signal of somebody else: *[ExitError];
//   - what it wrote could not be read to the end within a second of its end: an *[ExitError] all the same;
//   - this program ended, in whatever way: the kernel kills Envoy. What is left in Dir is no hindrance to the next Start.
//
// Start itself fails, and leaves nothing behind, when cfg is incomplete, when another Envoy answers at the admin socket,
// and when the files cannot be written or the binary cannot be run. A bootstrap that Envoy refuses is an end by itself.
func Start(cfg Config) (*Process, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	files, err := place(cfg)
	if err != nil {
		return nil, fmt.Errorf("envoy: %w", err)
	}
	p := &Process{files: files, log: &tail{to: cfg.Stderr}, done: make(chan struct{})}
	p.cmd = exec.Command(cfg.Binary, cfg.args(files.bootstrap)...)
	p.cmd.Env = environ()
	p.cmd.Stdout = cfg.Stdout
	p.cmd.Stderr = p.log
	p.cmd.WaitDelay = time.Second
	// The kernel forgets Pdeathsig when the binary is set-user-ID or has file capabilities.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}

	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		files.remove()
		return nil, fmt.Errorf("envoy: %w", err)
	}
	return p, nil
}

// run starts the process, says on started whether that worked, and waits for its end.
func (p *Process) run(started chan<- error) {
	// For the kernel, the parent is the thread that forked, not the program: were that thread to end, Envoy would be
	// killed. So it is kept for as long as Envoy lives.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = p.cmd.Wait() // what it would say is in ProcessState
	p.files.remove()
	if !p.stopping.Load() {
		p.err = &ExitError{State: p.cmd.ProcessState, Log: p.log.String()}
	}
	close(p.done)
}

// Done is closed when Envoy has ended and its files are gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says why Envoy ended: nil while it runs and when it was stopped, otherwise an *[ExitError].
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// PID is Envoy's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop ends Envoy: SIGTERM, and SIGKILL if it still runs after grace. It returns when Envoy has ended, and may be called
// more than once, by several goroutines, and after the end.
func (p *Process) Stop(grace time.Duration) {
	p.stopping.Store(true)
	_ = p.cmd.Process.Signal(unix.SIGTERM) // fails only when it has ended
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}
