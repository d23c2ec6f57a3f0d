package agent

import (
	"errors"
	"io/fs"
	"regexp"
	"strconv"
	"syscall"

	"koguma/mistake"
)

// What goes wrong beside the proxy, as the mistake behind it if it is a known one.

// notStarted is why Envoy could not be started.
func notStarted(err error) error {
	for _, cause := range []error{fs.ErrPermission, fs.ErrNotExist, syscall.ENOEXEC} {
		if errors.Is(err, cause) {
			return mistake.New(mistake.EnvoyMissing, err)
		}
	}
	return err
}

// readinessPortTaken is why the readiness port could not be opened.
func readinessPortTaken(err error, port int) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	return mistake.New(mistake.ProxyPort, err, mistake.WhoListens(port), "kuma-dp run --readiness-port 0 ...  # 0: any that is free")
}

// taken is how Envoy says that it cannot listen.
var taken = regexp.MustCompile(`cannot bind '[^']*:([0-9]{1,5})': Address already in use`)

// refusedByEnvoy is an error with what Envoy said of a configuration in it.
func refusedByEnvoy(err error) error {
	m := taken.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	port, _ := strconv.Atoi(m[1])
	return mistake.New(mistake.ProxyPort, err, mistake.WhoListens(port))
}
