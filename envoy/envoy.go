// Package envoy runs Envoy: one process ([Start]), one that is started again whenever it dies ([Supervisor]), and what its
// admin socket is good for ([Admin]).
//
// No Envoy outlives the program that started it, however that ends; none sees the environment variables in which the
// agent got its token; and nothing secret stands in its arguments. Linux only.
package envoy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Find says where the Envoy binary is. A path with a slash is taken as it is; a name ("" is "envoy") is looked for in
// PATH, then in the working directory, then beside the running executable. The answer is an absolute path.
func Find(path string) (string, error) {
	if strings.Contains(path, "/") {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("envoy: %w", err)
		}
		return filepath.Abs(found)
	}
	if path == "" {
		path = "envoy"
	}
	candidates := []string{path, "./" + path}
	if self, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Join(filepath.Dir(self), path))
	}
	for _, candidate := range candidates {
		// A relative entry of PATH is no place to take a program from: LookPath says so, and it counts as not found.
		if found, err := exec.LookPath(candidate); err == nil {
			return filepath.Abs(found)
		}
	}
	return "", fmt.Errorf("envoy: no %q in PATH, in the working directory, or beside this program; install Envoy or say where it is", path)
}

// Version asks binary for its version, such as "1.40.0", and its build, the five parts that Envoy prints: commit,
// version, state of the sources, kind of the build, TLS library. It costs about as much as a start of Envoy.
func Version(ctx context.Context, binary string) (version, build string, err error) {
	cmd := exec.CommandContext(ctx, binary, "--version")
	cmd.Env = environ()
	cmd.WaitDelay = time.Second // for what it may have started
	out, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("envoy: version of %s: %w", binary, err)
	}
	_, build, found := strings.Cut(strings.TrimSpace(string(out)), " version: ")
	parts := strings.Split(build, "/")
	if !found || len(parts) != 5 || strings.ContainsAny(build, " \n") {
		return "", "", fmt.Errorf("envoy: version of %s: not what Envoy says: %.100q", binary, out)
	}
	return parts[1], build, nil
}

// environ is this process's environment without what was meant for the agent alone, its token above all.
func environ() []string {
	clean := []string{} // nil would be the whole environment
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "KUMA_") {
			clean = append(clean, entry)
		}
	}
	return clean
}

// ExitError is the end of an Envoy that nobody asked to end, with whatever exit code.
type ExitError struct {
	State *os.ProcessState
	// Log is the last lines, warnings and worse, that Envoy wrote to its standard error; shortened.
	Log string
}

func (e *ExitError) Error() string {
	text := "envoy: ended by itself: " + e.State.String()
	if e.Log != "" {
		text += ", having said:\n" + e.Log
	}
	return text
}
