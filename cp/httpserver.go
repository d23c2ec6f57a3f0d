package cp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"golang.org/x/sync/errgroup"
)

// listen opens a TCP port, and says which setting to change where it cannot.
func listen(host string, port int, setting string) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, portMistaken(fmt.Errorf("%s: %w", setting, err), host, port, setting)
	}
	return l, nil
}

// portOf is the port of a listener's address, 0 where there is none.
func portOf(addr net.Addr) int {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// serveHTTP serves within the group until the context ends.
func serveHTTP(ctx context.Context, g *errgroup.Group, l net.Listener, s *http.Server) {
	g.Go(func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return s.Close()
	})
}
