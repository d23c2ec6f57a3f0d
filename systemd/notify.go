// Package systemd tells the service manager how a program is.
package systemd

import (
	"fmt"
	"net"
	"os"
)

// What a service manager wants to know.
const (
	Ready    = "READY=1"    // it does what it is there for
	Stopping = "STOPPING=1" // it was asked to end, and is about to
)

// Notify tells the service manager that started this program, where one wants to be told: $NOTIFY_SOCKET says so. Elsewhere it does
// nothing.
func Notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	// Net takes an @ for an abstract address, as systemd does.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("the service manager cannot be told %s: %w", state, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("the service manager cannot be told %s: %w", state, err)
	}
	return nil
}
