package doctor

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Listener is a TCP socket that somebody on this machine listens at.
type Listener struct {
	At    netip.AddrPort // with the unspecified address for all
	inode string
}

// Listeners are all there are in our network, as /proc tells everybody.
func Listeners() ([]Listener, error) {
	var all []Listener
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			if os.IsNotExist(err) && len(all) > 0 { // a machine without IPv6
				continue
			}
			return nil, err
		}
		all = append(all, parseListeners(string(text))...)
	}
	return all, nil
}

func parseListeners(text string) []Listener {
	const listening = "0A"
	var all []Listener
	for l := range strings.Lines(text) {
		f := strings.Fields(l)
		if len(f) < 10 || f[3] != listening {
			continue
		}
		if at, ok := parseAddress(f[1]); ok {
			all = append(all, Listener{At: at, inode: f[9]})
		}
	}
	return all
}

// parseAddress reads what /proc has: each word of four bytes in the order of the machine, and the port as one reads it.
func parseAddress(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), ok
}

// Takes reports whether connections to the address end up at the listener, as far as that can be told: one of all IPv6
// addresses has those of IPv4, too, as a rule.
func (l Listener) Takes(at netip.AddrPort) bool {
	if l.At.Port() != at.Port() {
		return false
	}
	a := l.At.Addr()
	return a == at.Addr() || a.IsUnspecified() && (a.Is6() || at.Addr().Is4())
}

// Process is a program that runs.
type Process struct {
	PID     int
	Name    string
	Parent  int
	command []string
}

// String is "envoy (pid 12)".
func (p Process) String() string { return fmt.Sprintf("%s (pid %d)", p.Name, p.PID) }

// Flag is the word after this one in the command line, "" if that cannot be read or does not have it.
func (p Process) Flag(name string) string {
	for i, word := range p.command {
		if word == name && i+1 < len(p.command) {
			return p.command[i+1]
		}
	}
	return ""
}

// Holder is the process that has the listener, if it can be told: that of another user cannot, unless we are root.
func (l Listener) Holder() (Process, bool) {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || to != "socket:["+l.inode+"]" {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(fd, "/")[2])
		return processOf(pid)
	}
	return Process{}, false
}

// processOf is the process with this id.
func processOf(pid int) (Process, bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Process{}, false
	}
	// The name stands in parentheses, and may have some in it.
	begin, end := strings.IndexByte(string(text), '('), strings.LastIndexByte(string(text), ')')
	if begin < 0 || end < begin {
		return Process{}, false
	}
	p := Process{PID: pid, Name: string(text[begin+1 : end])}
	if rest := strings.Fields(string(text[end+1:])); len(rest) > 1 {
		p.Parent, _ = strconv.Atoi(rest[1])
	}
	command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	p.command = strings.Split(strings.TrimSuffix(string(command), "\x00"), "\x00")
	return p, true
}

// Bindable is why nobody could listen at the address now; nil if we could. No connection is ever taken by that, and whoever
// starts to listen there meanwhile is not disturbed.
func Bindable(at netip.AddrPort) error {
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()})
	if at.Addr().Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// As Envoy and Go do, so that a connection that has just ended is no hindrance.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.Bind(fd, to)
}
