package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"koguma/testenv"
	"koguma/token"
)

func (d *drill) tokenFile(p *proxy) string { return d.path("tokens", p.name) }

// give makes a token for a proxy and puts it into the file that its agent reads, in one step.
func (d *drill) give(ctx context.Context, p *proxy, life time.Duration) (token.Claims, error) {
	raw, err := d.cp.Kumactl(ctx, "generate", "dataplane-token", "--mesh=default", "--name="+p.name,
		fmt.Sprintf("--tag=kuma.io/service=%s,%s-echo", p.service, p.service), fmt.Sprint("--valid-for=", life))
	if err != nil {
		return token.Claims{}, err
	}
	claims, err := token.Inspect(token.Raw(strings.TrimSpace(raw)))
	if err != nil {
		return token.Claims{}, err
	}
	return claims, testenv.ReplaceFile(d.tokenFile(p), raw)
}

// replace gives a proxy a new token and returns how long it took from then until its stream came in by it.
func (d *drill) replace(ctx context.Context, p *proxy, life time.Duration) (token.Claims, time.Duration, error) {
	claims, err := d.give(ctx, p, life)
	if err != nil {
		return claims, 0, err
	}
	begin := time.Now()
	err = testenv.Eventually(ctx, p.name+" to use its new token", func() error {
		used, err := d.used(ctx)
		if err == nil && used[p.name] != claims.ID {
			err = fmt.Errorf("it uses %q", used[p.name])
		}
		return err
	})
	return claims, time.Since(begin), err
}

// used is the id of the token that each proxy came in by, by the name of the proxy. Who has no stream is not in it.
func (d *drill) used(ctx context.Context) (map[string]string, error) {
	return d.cp.TokensInUse(ctx, "default")
}
