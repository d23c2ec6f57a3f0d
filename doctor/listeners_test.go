package doctor_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"

	"koguma/doctor"
)

// listen opens a port of an address, and finds it among the listeners of this machine.
func listen(t *testing.T, network, address string) (netip.AddrPort, doctor.Listener) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	at := netip.MustParseAddrPort(l.Addr().String())
	all, err := doctor.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(l doctor.Listener) bool { return l.At == at })
	if i < 0 {
		t.Fatalf("%v is not among %v", at, all)
	}
	return at, all[i]
}

// A listener is found with the process that has it, and takes what is sent to its address and no other.
func TestListeners(t *testing.T) {
	t.Parallel()
	at, l := listen(t, "tcp4", "127.0.0.1:0")
	p, ok := l.Holder()
	if !ok || p.PID != os.Getpid() || p.Parent != os.Getppid() {
		t.Errorf("%v, %v; want process %d", p, ok, os.Getpid())
	}
	if other := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), at.Port()); !l.Takes(at) || l.Takes(other) {
		t.Errorf("it takes %v: %v, and %v: %v", at, l.Takes(at), other, l.Takes(other))
	}
	_, all := listen(t, "tcp4", "0.0.0.0:0")
	if to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), all.At.Port()); !all.Takes(to) {
		t.Errorf("%v does not take %v", all.At, to)
	}
	at6, l6 := listen(t, "tcp6", "[::1]:0")
	if !l6.Takes(at6) {
		t.Errorf("%v does not take %v", l6.At, at6)
	}
}

// Whether one could listen is told without listening: neither does it need the port that is taken, nor take one that is free.
func TestBindable(t *testing.T) {
	t.Parallel()
	at, _ := listen(t, "tcp4", "127.0.0.1:0")
	if err := doctor.Bindable(at); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("taken: %v", err)
	}
	if err := doctor.Bindable(netip.MustParseAddrPort("192.0.2.123:80")); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("another machine's: %v", err)
	}
	free := netip.MustParseAddrPort(nobody(t))
	for range 100 {
		if err := doctor.Bindable(free); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := net.Listen("tcp", free.String()); err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
}

// What /proc has is read: the words of an address in the order of the machine, and only those who listen.
func TestParseListeners(t *testing.T) {
	t.Parallel()
	got := doctor.ParseListeners(`  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:270F 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0
   1: 0100007F:2710 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 100 0 0 10 0
   2: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4713 1 0 100 0 0 10 0
   3: nonsense:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4714 1 0 100 0 0 10 0
   4: 0100007F
`)
	var at []string
	for _, l := range got {
		at = append(at, l.At.String())
	}
	if want := []string{"127.0.0.1:9999", "[::1]:80"}; !slices.Equal(at, want) {
		t.Errorf("%v, want %v", at, want)
	}
}
