package main

import (
	"context"
	"fmt"
	"time"

	"koguma/testenv"
	"koguma/testenv/drill"
)

// permit has all inbounds take plaintext as well.
func (d *ca) permit(ctx context.Context) (string, error) {
	return d.become(ctx, "PERMISSIVE", "STRICT to PERMISSIVE", true)
}

// forbid has them take mTLS only again.
func (d *ca) forbid(ctx context.Context) (string, error) {
	return d.become(ctx, "STRICT", "PERMISSIVE to STRICT", false)
}

// become changes the mode, and waits until that shows at the inbound of every proxy, and what it may break would have
// broken.
func (d *ca) become(ctx context.Context, mode, phase string, plaintext bool) (string, error) {
	begin := time.Now()
	if _, err := d.CP.Kumactl(ctx, append([]string{"apply"}, d.manifest(mode)...)...); err != nil {
		return "", err
	}
	for _, p := range d.Proxies {
		err := testenv.Eventually(ctx, p.Name+" to be "+mode, func() error {
			if err := drill.Ask(ctx, p.At("inHTTP")); (err == nil) != plaintext {
				return fmt.Errorf("a request in plaintext: %v", err)
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	took := time.Since(begin)
	// Envoy lets connections live for 5 s after their filter chain has gone.
	if err := drill.Pause(ctx, 6*time.Second); err != nil {
		return "", err
	}
	return d.Close(ctx, phase, map[drill.Event]time.Duration{switched: took})
}
