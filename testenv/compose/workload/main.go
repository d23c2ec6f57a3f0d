// Workload is the program behind the proxies of docker-compose.yaml:
//
//	workload serve ADDRESS NAME                greets under its name
//	workload ask ADDRESS                       says what it is answered there
//	workload drill ADDRESS AGENT ROTATIONS     sends requests while the token of the agent beside it is replaced so many times,
//	                                           with the code 0 if none is lost
//
// It knows of no mesh: the address is that of an outbound of its proxy.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"koguma/testenv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, w io.Writer) error {
	switch {
	case len(args) == 3 && args[0] == "serve":
		return serve(ctx, args[1], args[2])
	case len(args) == 2 && args[0] == "ask":
		answer, err := ask(ctx, args[1])
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, answer)
		return err
	case len(args) == 4 && args[0] == "drill":
		rotations, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return drill(ctx, args[1], args[2], rotations, w)
	}
	return errors.New("usage: workload serve ADDRESS NAME | workload ask ADDRESS | workload drill ADDRESS AGENT ROTATIONS")
}

// serve greets everybody until the context ends.
func serve(ctx context.Context, address, name string) error {
	s := &http.Server{
		Addr:              address,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "hello from %s\n", name) }),
		ReadHeaderTimeout: time.Minute,
	}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return nil
}

// ask returns the status and the text of an answer.
func ask(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	status, body, err := testenv.Get(ctx, "http://"+address)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %s", status, strings.TrimSpace(body)), nil
}
