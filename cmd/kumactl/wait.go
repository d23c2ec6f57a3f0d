package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
)

// waiting is for the proxies to have what was written.
type waiting struct {
	on      bool
	timeout time.Duration
	// versions are, by mesh, those of the store with which it is there.
	versions map[string]uint64
}

// addFlags gives the command the flags that say whether to wait.
func (w *waiting) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&w.on, "wait", false, "wait until every proxy that is connected has acknowledged it, or name those that have not")
	flags.DurationVar(&w.timeout, "timeout", 30*time.Second, "how long to wait (0: forever)")
}

// wrote notes that something was written with that version of the store.
func (w *waiting) wrote(key policy.Key, version uint64) error {
	if !w.on {
		return nil
	}
	mesh := key.Mesh
	if key.Type == policy.TypeMesh {
		mesh = key.Name
	}
	if mesh == "" {
		return nil // no proxy has anything of it
	}
	if version == 0 {
		return errors.New("this control plane does not say when proxies have something: it is too old for --wait")
	}
	if w.versions == nil {
		w.versions = map[string]uint64{}
	}
	w.versions[mesh] = max(w.versions[mesh], version)
	return nil
}

// The pauses between two looks at how far the proxies are.
const (
	leastWait = 100 * time.Millisecond
	mostWait  = time.Second
)

// await returns when the proxies of all these meshes have what was written, or says who has not.
func (w *waiting) await(ctx context.Context, c *cli, cp *client) error {
	if !w.on {
		return nil
	}
	begin := time.Now()
	for _, mesh := range slices.Sorted(maps.Keys(w.versions)) {
		if err := w.awaitMesh(ctx, c, cp, mesh, begin); err != nil {
			return err
		}
	}
	return nil
}

func (w *waiting) awaitMesh(ctx context.Context, c *cli, cp *client, mesh string, begin time.Time) error {
	met := map[string]bool{} // proxies that lacked something
	for pause := leastWait; ; pause = min(mostWait, pause*3/2) {
		d, err := cp.delivery(ctx, mesh, w.versions[mesh])
		if err != nil {
			return fmt.Errorf("it is written; how far the proxies are is not known: %w", err)
		}
		lacking := lacks(&d, met)
		if len(lacking) == 0 {
			for _, a := range d.Absent {
				c.warn("%s of mesh %s is not connected, and gets it when it is: %s", a.Proxy, mesh, a.Why)
			}
			_, err := fmt.Fprintf(c.stdout, "mesh %q: %d of %d connected proxies have it\n", mesh, d.Proxies, d.Proxies)
			return err
		}
		if w.timeout > 0 && time.Since(begin)+pause > w.timeout {
			return fmt.Errorf("it is written; after %v these proxies of mesh %q have not said that they have it:%s", w.timeout, mesh, strings.Join(lacking, ""))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.New("interrupted; it is written")
		}
	}
}

// lacks says, a line each, what proxies lack. Those that lacked something and whose stream has broken since may be at work
// with what they had.
func lacks(d *policy.Delivery, met map[string]bool) []string {
	var lines []string
	for _, p := range d.Pending {
		met[p.Proxy] = true
		why := p.Reason
		if p.Type != "" {
			why = p.Type + ": " + why
		}
		if p.Refusal != "" {
			why += ": " + p.Refusal
		}
		lines = append(lines, bullet(p.Proxy, why))
	}
	for _, a := range d.Absent {
		if a.Lost && met[a.Proxy] {
			lines = append(lines, bullet(a.Proxy, a.Why))
		}
	}
	return lines
}

// delivery is how far the proxies of a mesh are with what was written with that version of the store.
func (c *client) delivery(ctx context.Context, mesh string, version uint64) (d policy.Delivery, err error) {
	path, err := meshPath(mesh)
	if err != nil {
		return d, err
	}
	_, err = c.call(ctx, http.MethodGet, path+"/_delivery", url.Values{"version": {strconv.FormatUint(version, 10)}}, nil, &d)
	return d, err
}
