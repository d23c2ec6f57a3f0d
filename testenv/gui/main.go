// Gui looks at the page at /gui as people do: in a real browser, with a real mesh behind it. What is not as it should be ends it
// with an error. Where it is told a folder, it also leaves pictures of the page there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"koguma/testenv"
)

func main() {
	root := flag.String("chromium", ".tools/debian/chromium", "the folder that Debian's chromium was unpacked into")
	pictures := flag.String("pictures", "", "a folder for pictures of the page; none are made without")
	stay := flag.Bool("stay", false, "start the mesh, print where the page is, and wait for Ctrl-C")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *root, *pictures, *stay); err != nil {
		fmt.Fprintf(os.Stderr, "gui: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root, pictures string, stay bool) (err error) {
	dir, err := os.MkdirTemp("", "koguma-gui-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, err := openShop(starting, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if stay {
		if err := errors.Join(s.intrude(ctx, "ledger-2"), s.rotate(ctx)); err != nil {
			return err
		}
		fmt.Println(s.cp.API + "/gui")
		<-ctx.Done()
		return nil
	}
	c, err := startChromium(starting, root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	v := &visit{shop: s, chromium: c, pictures: pictures}
	if err := testenv.Show(ctx, os.Stdout, 30*time.Second, v.steps()); err != nil {
		_, complaints := v.readConsole(ctx) // which may say why
		return errors.Join(err, complaints)
	}
	return nil
}
