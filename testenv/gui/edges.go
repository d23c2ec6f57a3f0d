package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"koguma/testenv"
	"koguma/token"
)

// hostile is what somebody says that he is who wants the page to do something.
const hostile = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>` + "\u202eevil"

// watchHostile has somebody come whose name is a program. It is shown, as text.
func (v *visit) watchHostile(ctx context.Context) (string, error) {
	shown := fmt.Sprintf("[...document.querySelectorAll('#refusals bdi')].some((e) => e.textContent === 'default.' + `%s`)", hostile)
	err := testenv.Eventually(ctx, "the name", func() error { // one refusal a second of an address is kept, and web-2 has the same
		got, err := v.eval(ctx, shown)
		if err == nil && got != "true" {
			err = errors.Join(errors.New("it is not there"), v.intrude(ctx, hostile))
		}
		return err
	})
	if err != nil {
		return "", err
	}
	_, err = v.sees(ctx, "nothing but text", `!document.querySelector('img, main script') && window.hacked === undefined`)
	return "it is shown as text, and does nothing", err
}

// watchRestart has the page say that it is stale while there is no control plane, and go on by itself when there is one again.
func (v *visit) watchRestart(ctx context.Context) (string, error) {
	if err := errors.Join(v.goOn(), v.cp.Stop(10*time.Second)); err != nil {
		return "", err
	}
	if _, err := v.sees(ctx, "the page to say so", `document.getElementById('live').innerText.startsWith('Not connected')`); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := v.startCP(ctx); err != nil {
		return "", err
	}
	if _, err := v.sees(ctx, "the page to be live", `document.getElementById('live').dataset.live === 'live' && window.sameDocument`); err != nil {
		return "", err
	}
	_, err := v.sees(ctx, "the proxies to be back", `document.querySelectorAll('.proxies .state.online').length === 5`)
	return fmt.Sprintf("it said so, and was up to date again %.1f s after the start began", time.Since(begin).Seconds()), err
}

// readEmpty reads what to do next where there is nothing yet.
func (v *visit) readEmpty(ctx context.Context) (string, error) {
	if err := v.apply(ctx, "type: Mesh\nname: empty\n"); err != nil {
		return "", err
	}
	for mesh, want := range map[string]string{"empty": "kumactl generate dataplane-token --mesh empty", "none": "kumactl apply -f -"} {
		if err := v.open(ctx, v.cp.API+"/gui?mesh="+mesh); err != nil {
			return "", err
		}
		if _, err := v.sees(ctx, "what to do next", fmt.Sprintf(`document.querySelector('h1')?.innerText.includes(%q) && document.body.innerText.includes(%q)
			&& !document.getElementById('reach').getClientRects().length`, mesh, want)); err != nil {
			return "", err
		}
	}
	return "both say what to type next", nil
}

// readMany looks at a mesh with more services than anybody reads.
func (v *visit) readMany(ctx context.Context) (string, error) {
	var all strings.Builder
	all.WriteString("type: Mesh\nname: many\n")
	for i := range 60 {
		fmt.Fprintf(&all, "---\ntype: Dataplane\nmesh: many\nname: s-%03d-1\nnetworking:\n  address: 127.0.0.9\n  inbound:\n"+
			"    - {port: 9000, tags: {kuma.io/service: s-%03d}}\n", i, i)
	}
	if err := v.apply(ctx, all.String()); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := v.open(ctx, v.cp.API+"/gui?mesh=many"); err != nil {
		return "", err
	}
	if _, err := v.sees(ctx, "the matrix", `document.querySelectorAll('[role=gridcell].allowed').length === 3600`); err != nil {
		return "", err
	}
	drawn := time.Since(begin)
	_, err := v.sees(ctx, "nothing that is cut off", `document.documentElement.scrollWidth <= innerWidth`)
	return fmt.Sprintf("3,600 cells, drawn %.2f s after the address was entered", drawn.Seconds()), err
}

// searchSecrets looks for tokens, their ids and keys in what the page has, and in what the control plane sends it.
func (v *visit) searchSecrets(ctx context.Context) (string, error) {
	if err := v.open(ctx, v.cp.API+"/gui"); err != nil {
		return "", err
	}
	if _, err := v.sees(ctx, "the page", `document.querySelectorAll('.proxies tbody tr').length > 5`); err != nil {
		return "", err
	}
	page, err := v.eval(ctx, "document.documentElement.outerHTML")
	if err != nil {
		return "", err
	}
	stream, err := v.firstEvent(ctx)
	if err != nil {
		return "", err
	}
	_, explanation, err := testenv.Get(ctx, v.cp.API+"/meshes/default/connections?from=service:web&to=service:orders")
	if err != nil {
		return "", err
	}
	needles := append(testenv.KeyMarks(), "BEGIN ")
	for _, p := range v.proxies {
		claims, err := token.Inspect(token.Raw(p.token))
		if err != nil {
			return "", err
		}
		parts := strings.Split(p.token, ".")
		needles = append(needles, p.token, parts[1], parts[2], claims.ID)
	}
	for _, text := range []string{page, stream, explanation} {
		for _, n := range needles {
			if strings.Contains(text, n) {
				return "", fmt.Errorf("%q is in\n%.3000s", n, text)
			}
		}
	}
	return fmt.Sprintf("none of %d is in the page, nor in the %d bytes that it is sent at first", len(needles), len(stream)), nil
}

// firstEvent is what a page is sent first.
func (v *visit) firstEvent(ctx context.Context) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.cp.API+"/gui/events", nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	return bufio.NewReader(answer.Body).ReadString('\n')
}

// readConsole is content if nothing was complained of: no error, no warning, no violation of the content security policy.
func (v *visit) readConsole(context.Context) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.complaints) > 0 {
		return "", fmt.Errorf("it says\n%s", strings.Join(v.complaints, "\n"))
	}
	return "it says nothing", nil
}
