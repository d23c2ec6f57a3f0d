package testenv_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/testenv"
)

// Control plane, agent and Envoy listen where the reference says, and nowhere else: no port leads to Envoy's administration.
func TestNothingElseListens(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	printed, err := testenv.Session(ctx, t.TempDir(), []testenv.Block{{Commands: `
umask 077
kuma-cp run >kuma-cp.log 2>&1 &
curl -fs --retry 9 --retry-connrefused localhost:5680/ready
cat >web.yaml <<'EOF'
type: Dataplane
mesh: default
name: web-1
networking:
  address: 127.0.0.1
  inbound: [{port: 10001, servicePort: 8001, tags: {kuma.io/service: web}}]
  outbound: [{port: 10002, tags: {kuma.io/service: backend}}]
EOF
kumactl generate dataplane-token --name web-1 --tag kuma.io/service=web --valid-for 1h >web.token
kuma-dp run --dataplane-file=web.yaml --dataplane-token-file=web.token >web.log 2>&1 &
curl -fs --retry 9 --retry-connrefused localhost:9902/ready
`}, {Commands: "cat /proc/net/tcp /proc/net/tcp6\n"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{ // what is at ::, is at 0.0.0.0 too
		"127.0.0.1:10001", "127.0.0.1:10002", "127.0.0.1:5679", "127.0.0.1:5680", "127.0.0.1:5681", "127.0.0.1:9902", ":::5678",
	}
	if diff := cmp.Diff(want, listening(t, printed[1])); diff != "" {
		t.Errorf("listening (-want +got):\n%s", diff)
	}
}

// listening is where somebody listens, by the tables of the kernel.
func listening(t *testing.T, tables string) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(tables) {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != "0A" {
			continue
		}
		address, port, _ := strings.Cut(f[1], ":")
		b, err := hex.DecodeString(address)
		n, wrong := strconv.ParseUint(port, 16, 16)
		switch {
		case err != nil || wrong != nil:
			t.Errorf("%q: %v, %v", line, err, wrong)
		case len(b) == 4:
			all = append(all, fmt.Sprintf("%d.%d.%d.%d:%d", b[3], b[2], b[1], b[0], n))
		case strings.Trim(address, "0") == "":
			all = append(all, fmt.Sprintf(":::%d", n))
		default:
			all = append(all, fmt.Sprintf("[%s]:%d", address, n))
		}
	}
	slices.Sort(all)
	return slices.Compact(all) // each worker of Envoy has a socket of its own
}

// An inbound gives nobody a ticket to come back with: each connection shows its certificate.
func TestNoSessionIsResumed(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	backend := m.Start(testenv.Proxy{Serves: []string{"backend"}})[0]
	m.Permit("web-backend", "web", "backend")
	web := m.Identity("default", "web")
	tickets := tls.NewLRUClientSessionCache(1)
	config := &tls.Config{
		ServerName: "web.backend.default", InsecureSkipVerify: true, // the server's identity is another test's
		Certificates: []tls.Certificate{*web}, ClientSessionCache: tickets,
	}
	for range 2 {
		c, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", backend.In("backend"))
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := exchange(c, bufio.NewReader(c)); err != nil {
			t.Errorf("%q %v", answer, err)
		}
		if c.(*tls.Conn).ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
		c.Close()
	}
	if _, ok := tickets.Get("web.backend.default"); ok {
		t.Error("there is a ticket")
	}
}
