package cp

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"koguma/mistake"
)

// portMistaken is why a port cannot be opened, as the mistake behind it if the port is taken. The setting has its variable in
// brackets.
func portMistaken(err error, host string, port int, setting string) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	next := []string{mistake.WhoListens(port)}
	if _, variable, ok := strings.Cut(strings.TrimSuffix(setting, ")"), "("); ok {
		next = append(next, fmt.Sprintf("%s=%d kuma-cp run", variable, freePort(host, port)))
	}
	return mistake.New(mistake.ServerPort, err, next...)
}

// freePort is a port near another one that nobody listens at now, 0 for any if there is none.
func freePort(host string, near int) int {
	for port := near + 10; port < min(near+1000, 1<<16); port += 10 {
		if l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			l.Close()
			return port
		}
	}
	return 0
}
