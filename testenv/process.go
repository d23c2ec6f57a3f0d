package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command is a program to run.
type Command struct {
	Name  string // what messages call it
	Path  string
	Args  []string
	Env   []string // on top of this process's own environment, of which nothing that begins with KUMA_ is handed on
	Dir   string
	Stdin string
	User  int // the id of the user and group to run as; 0 is as we do
}

func (c Command) build(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KUMA_") })
	cmd.Env = append(own, c.Env...)
	cmd.Dir = c.Dir
	cmd.Stdin = strings.NewReader(c.Stdin)
	// A group of its own, so that Ctrl-C in the terminal reaches only us, and we end it in good order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if c.User != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(c.User), Gid: uint32(c.User)}
	}
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// Run runs the command to its end and returns what it wrote to standard output. The error has what it wrote to standard
// error.
func Run(ctx context.Context, c Command) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := c.build(ctx)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err() // and not that the process was killed
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", c.Name, strings.Join(c.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), err
}

// Process is a program that runs, and all that it has written.
type Process struct {
	name string
	cmd  *exec.Cmd
	out  output
	done chan struct{}
	err  error // once done is closed
}

// Start starts the command.
func Start(c Command) (*Process, error) {
	p := &Process{name: c.Name, cmd: c.build(context.Background()), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// Name is what messages call the process.
func (p *Process) Name() string { return p.name }

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is the exit code of the process once it has ended, -1 before that and where a signal ended it.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Running is nil while the process runs, and else an error with the last that it wrote.
func (p *Process) Running() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %v\n%s", p.name, p.err, p.Tail(20))
	default:
		return nil
	}
}

// Output is all that the process has written, to standard output and standard error.
func (p *Process) Output() string { return p.out.String() }

// Tail is the last n lines of the output, each after the name of the process.
func (p *Process) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(p.Output(), "\n"), "\n")
	lines = lines[max(0, len(lines)-n):]
	return p.name + ": " + strings.Join(lines, "\n"+p.name+": ")
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop asks the process to end and waits. What has not ended within grace is killed with everything it started, and
// that is an error, as is anything but a clean exit.
func (p *Process) Stop(grace time.Duration) error {
	if p.Running() != nil {
		return nil
	}
	children := Descendants(p.PID())
	_ = p.Signal(syscall.SIGTERM)
	timeout := time.NewTimer(grace)
	defer timeout.Stop()
	select {
	case <-p.done:
	case <-timeout.C:
		p.Kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM\n%s", p.name, grace, p.Tail(20))
	}
	if left := reap(children); len(left) > 0 {
		return fmt.Errorf("%s ended and left processes behind: %v", p.name, left)
	}
	if p.err != nil {
		return fmt.Errorf("%s ended badly: %w\n%s", p.name, p.err, p.Tail(20))
	}
	return nil
}

// Kill kills the process and everything it started, and waits until all of it is gone.
func (p *Process) Kill() {
	children := Descendants(p.PID())
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	<-p.done
	reap(children)
}

// reap waits a second for processes to be gone, and kills and returns those that are not.
func reap(pids []int) []int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var left []int
	_ = Eventually(ctx, "processes to be gone", func() error {
		if left = slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { return !Alive(pid) }); len(left) > 0 {
			return fmt.Errorf("%d are left", len(left))
		}
		return nil
	})
	for _, pid := range left {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return left
}

// await waits for f to return nil, for 20 seconds at most. A process that ends instead is an error.
func (p *Process) await(ctx context.Context, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err := Eventually(ctx, p.name+" to "+what, func() error {
		if p.Running() != nil {
			return nil // and f never will
		}
		return f()
	})
	if ended := p.Running(); ended != nil {
		return ended
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w\n%s", err, p.Tail(20))
	}
	return err
}

// AwaitOK waits until the URL answers 200.
func (p *Process) AwaitOK(ctx context.Context, url string) error {
	return p.await(ctx, "be ready", func() error {
		status, body, err := Get(ctx, url)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%s answers %d %s", url, status, body)
		}
		return err
	})
}

// AwaitOutput waits until the process has written something that the expression matches, and returns what its groups
// matched.
func (p *Process) AwaitOutput(ctx context.Context, expression *regexp.Regexp) (groups []string, err error) {
	err = p.await(ctx, "write "+expression.String(), func() error {
		match := expression.FindStringSubmatch(p.Output())
		if match == nil {
			return errors.New("it did not")
		}
		groups = match[1:]
		return nil
	})
	return groups, err
}

// output collects what a process writes while others read it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
