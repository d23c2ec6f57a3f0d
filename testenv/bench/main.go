// Bench measures the built programs and prints the table of doc/performance.md: what was to be reached, what was
// measured, and the spread. A bad figure is no error.
//
// The control plane is measured from outside, by what the kernel says of its process, so that what the load program
// itself uses falls only on the times, which are that much too long.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"koguma/testenv"
)

func main() {
	n := flag.Int("n", 200, "how many proxies connect")
	runs := flag.Int("runs", 3, "how often the fleet is measured, each time with a new control plane")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *n, *runs); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n, runs int) error {
	r := &report{n: n, samples: map[figure][]float64{}}
	for _, name := range []string{"kuma-cp", "kuma-dp", "kumactl"} {
		path, err := testenv.Binary(name)
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		r.add(binarySize, float64(info.Size())/1e6)
	}
	for i := range runs {
		fmt.Fprintf(os.Stderr, "%d proxies, run %d of %d\n", n, i+1, runs)
		if err := measureFleet(ctx, n, r); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "start to first request, %d times\n", starts)
	if err := measureStart(ctx, r); err != nil {
		return err
	}
	return r.write(os.Stdout)
}
