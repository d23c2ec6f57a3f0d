package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"koguma/doctor"
	"koguma/envoy"
	"koguma/mistake"
)

// mostVersion is how long Envoy may take to say its version. It is some tenths of a second, as a rule.
const mostVersion = 5 * time.Second

// checkEnvoy looks for Envoy, and lets it say its version.
func (x *exam) checkEnvoy(ctx context.Context) []doctor.Check {
	const name = "envoy"
	again := "kuma-dp run --binary-path /PATH/TO/envoy ..."
	binary, err := envoy.Find(x.EnvoyBinary)
	if err != nil {
		return []doctor.Check{doctor.Mistaken(name, mistake.EnvoyMissing, err, again)}
	}
	ctx, cancel := context.WithTimeout(ctx, mostVersion)
	defer cancel()
	version, _, err := envoy.Version(ctx, binary)
	switch {
	case err != nil:
		return []doctor.Check{doctor.Mistaken(name, mistake.EnvoyMissing, err, again, mistake.Command(binary, "--version"))}
	case version != envoy.Tested:
		return []doctor.Check{doctor.Doubt(name, "%s is version %s", binary, version).
			Fix("take " + envoy.Tested + ", with which kuma-dp is tested")}
	}
	return []doctor.Check{doctor.Good(name, "%s, version %s", binary, version)}
}

// checkHost looks at what the agent needs of this machine.
func (x *exam) checkHost(context.Context) []doctor.Check {
	checks := []doctor.Check{x.checkWorkDir(), checkFiles()}
	if x.WorkloadAPISocket != "" {
		checks = append(checks, x.checkSocket())
	}
	return checks
}

// checkWorkDir asks whether we could make our directory there, and sockets in it.
func (x *exam) checkWorkDir() doctor.Check {
	const name = "work directory"
	dir := x.WorkDir
	if dir == "" {
		dir = os.TempDir()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return doctor.Bad(name, "%v", err)
	}
	// The kernel's limit, with a number as long as they get in the place of the star.
	if longest := len(filepath.Join(dir, dirPattern, adsSocket)) + len("4294967295") - len("*"); longest > maxSocketPath {
		return doctor.Bad(name, "%s is too long by %d bytes: the path of a socket has %d at most",
			dir, longest-maxSocketPath, maxSocketPath).Fix("give a shorter --work-dir")
	}
	in := dir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		in = filepath.Dir(dir) // kuma-dp makes it
	}
	if err := writable(in); err != nil {
		return doctor.Bad(name, "%v", err).Fix("make it, for the user that runs kuma-dp, or give another --work-dir")
	}
	return doctor.Good(name, "%s can be written", dir)
}

// writable reports why we could make nothing in a directory.
func writable(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("nothing can be made in %s: %w", dir, err)
	}
	return nil
}

// checkSocket looks at the path at which programs are to ask for the identity.
func (x *exam) checkSocket() doctor.Check {
	const name = "Workload API"
	if err := writable(filepath.Dir(x.WorkloadAPISocket)); err != nil {
		return doctor.Bad(name, "%v", err).Fix("make the directory, or give another --workload-api-socket")
	}
	switch info, err := os.Lstat(x.WorkloadAPISocket); {
	case errors.Is(err, fs.ErrNotExist):
		return doctor.Good(name, "%s is free", x.WorkloadAPISocket)
	case err != nil:
		return doctor.Bad(name, "%v", err)
	case info.Mode().Type() != fs.ModeSocket:
		return doctor.Bad(name, "%s is there, and no socket", x.WorkloadAPISocket).
			Fix("remove it, or give another --workload-api-socket")
	}
	return doctor.Good(name, "%s is a socket, of an agent that runs or has run", x.WorkloadAPISocket)
}

// fewFiles is how many open files are too few: Envoy has two for each connection, and some dozens of its own.
const fewFiles = 1024

// checkFiles looks at how many files may be open. Go has raised that of this process to the most that it may have, and
// gives Envoy what it was before, so it is that of who has started us.
func checkFiles() doctor.Check {
	const name = "open files"
	var limit unix.Rlimit
	if err := unix.Prlimit(os.Getppid(), unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		return doctor.Skip(name, "the limit cannot be read: %v", err)
	}
	seen := fmt.Sprintf("%d at once, two for each connection", limit.Cur)
	if limit.Cur < fewFiles {
		return doctor.Doubt(name, "%s", seen).Fix("raise the limit: ulimit -n 65536, or LimitNOFILE=65536 in its systemd unit")
	}
	return doctor.Good(name, "%s", seen)
}
