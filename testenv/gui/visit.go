package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"koguma/testenv"
)

// visit is somebody who looks at the page of a shop.
type visit struct {
	*shop
	*chromium
	pictures string
}

func (v *visit) steps() []testenv.Step {
	return []testenv.Step{
		{Does: "opened the page", Do: v.arrive},
		{Does: "looked at the proxies", Do: v.readProxies},
		{Does: "clicked on a cell", Do: v.clickCell},
		{Does: "copied the permission", Do: v.copyPermission},
		{Does: "went through the matrix by keyboard", Do: v.useKeyboard},
		{Does: "filtered", Do: v.filter},
		{Does: "began to rotate the CA", Do: v.watchRotation},
		{Does: "revoked a token", Do: v.watchRevocation},
		{Does: "looked in light, dark and narrow", Do: v.lookAround},
		{Does: "gave a permission", Do: v.watchPermission},
		{Does: "came with a hostile name", Do: v.watchHostile},
		{Does: "restarted the control plane", Do: v.watchRestart},
		{Does: "looked at an empty mesh, and at none", Do: v.readEmpty},
		{Does: "looked at 60 services", Do: v.readMany},
		{Does: "searched for what is secret", Do: v.searchSecrets},
		{Does: "read the browser's console", Do: v.readConsole},
	}
}

// sees waits until an expression is true in the page, and says how long that took.
func (v *visit) sees(ctx context.Context, what, expression string) (time.Duration, error) {
	begin := time.Now()
	err := testenv.Eventually(ctx, what, func() error {
		got, err := v.eval(ctx, expression)
		if err == nil && got != "true" {
			text, _ := v.eval(ctx, `document.body.innerText.slice(0, 3000)`)
			err = fmt.Errorf("%s is %s in\n%s", expression, got, text)
		}
		return err
	})
	return time.Since(begin), err
}

// cell is the selector of a cell of the matrix.
func cell(from, to string) string {
	return fmt.Sprintf(`[role=gridcell][aria-label^=%q]`, from+" to "+to+":")
}

// is is the expression for what a cell says.
func is(from, to, verdict string) string {
	return fmt.Sprintf("document.querySelector(%q)?.getAttribute('aria-label').endsWith(%q)", cell(from, to), ": "+verdict)
}

// explains is the expression for what stands in the explanation.
func explains(words ...string) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = fmt.Sprintf("document.getElementById('explanation').innerText.includes(%q)", w)
	}
	return strings.Join(all, " && ")
}

func (v *visit) arrive(ctx context.Context) (string, error) {
	if err := v.look(ctx, 1280, "light"); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := v.open(ctx, v.cp.API+"/gui"); err != nil {
		return "", err
	}
	if _, err := v.sees(ctx, "the page to be live", `document.getElementById('live').dataset.live === 'live' && document.querySelector('h1').innerText === 'default'`); err != nil {
		return "", err
	}
	_, err := v.eval(ctx, "window.sameDocument = true")
	return fmt.Sprintf("live after %.2f s", time.Since(begin).Seconds()), err
}

// readProxies finds each proxy with its state and its ends, those in trouble first.
func (v *visit) readProxies(ctx context.Context) (string, error) {
	const list = `[...document.querySelectorAll('.proxies tbody tr')].map((r) => r.querySelector('th bdi').innerText + " " + r.querySelector('.state').className).join()`
	const want = "search-1 state refused,legacy-1 state offline,ledger-1 state online,mailer-1 state online,orders-1 state online," +
		"payments-1 state online,web-1 state online,web-2 state online"
	if _, err := v.sees(ctx, "the proxies", fmt.Sprintf("%s === %q", list, want)); err != nil {
		return "", err
	}
	for what, expression := range map[string]string{
		"why search-1 is in trouble": `document.querySelector('.proxies').innerText.includes('Address already in use')`,
		"the end of a token":         `[...document.querySelectorAll('time.soon')].some((t) => /^1\d min \d\d s, soon$/.test(t.innerText))`,
		"the ends of certificates":   `document.querySelectorAll('.life').length === 7`,
		"a countdown": `(async () => { const e = document.querySelector('time.soon'), before = e.innerText;
			for (let i = 0; i < 30; i++) { await new Promise((r) => setTimeout(r, 100)); if (e.innerText !== before) return true; } return false; })()`,
	} {
		if _, err := v.sees(ctx, what, expression); err != nil {
			return "", err
		}
	}
	return "8 of them, two in trouble, one whose token is about to end", nil
}

func (v *visit) clickCell(ctx context.Context) (string, error) {
	if err := v.click(ctx, cell("web", "orders")); err != nil {
		return "", err
	}
	_, err := v.sees(ctx, "an explanation", explains("web to orders", "denied now", "web is none of its sources", "kumactl apply -f -", "name: mailer-to-orders"))
	if err != nil {
		return "", err
	}
	_, err = v.sees(ctx, "the other verdicts", is("web", "orders", "denied")+" && "+is("mailer", "orders", "allowed")+" && "+is("legacy", "legacy", "denied"))
	return "denied, and by which permission it would not be", err
}

func (v *visit) copyPermission(ctx context.Context) (string, error) {
	if err := v.click(ctx, ".copyable button"); err != nil {
		return "", err
	}
	_, err := v.sees(ctx, "the button to say so", `["Copied", "Selected"].includes(document.querySelector('.copyable button').innerText)`)
	return "the button says so", err
}

// useKeyboard gets to a cell and to its explanation without a mouse.
func (v *visit) useKeyboard(ctx context.Context) (string, error) {
	if _, err := v.eval(ctx, "(document.activeElement.blur(), scrollTo(0, 0))"); err != nil {
		return "", err
	}
	if err := v.click(ctx, ".brand"); err != nil { // so that Tab begins at the top
		return "", err
	}
	tabs := 0
	for ; tabs < 12; tabs++ {
		if role, err := v.eval(ctx, "document.activeElement.getAttribute('role')"); err != nil || role == "gridcell" {
			break
		}
		if err := v.press(ctx, "Tab", 0); err != nil {
			return "", err
		}
	}
	const control = 2
	if err := errors.Join(v.press(ctx, "Home", control), v.press(ctx, "ArrowDown", 0), v.press(ctx, "ArrowDown", 0),
		v.press(ctx, "ArrowRight", 0), v.press(ctx, "ArrowRight", 0), v.press(ctx, "ArrowRight", 0)); err != nil {
		return "", err
	}
	if _, err := v.sees(ctx, "the focus", `document.activeElement.getAttribute('aria-label') === 'mailer to orders: allowed' &&
		getComputedStyle(document.activeElement).outlineStyle === 'solid'`); err != nil {
		return "", err
	}
	if err := v.press(ctx, "Enter", 0); err != nil {
		return "", err
	}
	_, err := v.sees(ctx, "an explanation", explains("mailer to orders", "allowed now", "lets it in"))
	return fmt.Sprintf("%d times Tab, arrows, Enter: allowed, and by what", tabs), err
}

func (v *visit) filter(ctx context.Context) (string, error) {
	const typed = `(() => { const f = document.getElementById('filter'); f.value = %q; f.dispatchEvent(new Event('input')); })()`
	const count = `document.querySelectorAll('[role=gridcell]').length === %d && document.querySelectorAll('.proxies tbody tr').length === %d`
	for text, want := range map[string][2]int{"web orders": {4, 3}, "nothing": {0, 0}} {
		if _, err := v.eval(ctx, fmt.Sprintf(typed, text)); err != nil {
			return "", err
		}
		if _, err := v.sees(ctx, "less", fmt.Sprintf(count, want[0], want[1])); err != nil {
			return "", err
		}
	}
	if _, err := v.eval(ctx, fmt.Sprintf(typed, "")); err != nil {
		return "", err
	}
	_, err := v.sees(ctx, "all", fmt.Sprintf(count, 49, 8))
	return "two words, no match, and all again", err
}

func (v *visit) watchRotation(ctx context.Context) (string, error) {
	if err := v.rotate(ctx); err != nil {
		return "", err
	}
	_, err := v.sees(ctx, "the stage", `document.querySelector('.stages [aria-current=step]')?.innerText.startsWith('Trust both') &&
		document.querySelector('.waits')?.innerText.includes('mailer-1') && document.querySelectorAll('.authorities tbody tr').length === 2`)
	return "it is in its first stage, and waits for mailer-1", err
}

func (v *visit) watchRevocation(ctx context.Context) (string, error) {
	if err := v.revoke(ctx, "web-2"); err != nil {
		return "", err
	}
	took, err := v.sees(ctx, "web-2 to be put out", `[...document.querySelectorAll('.proxies tr')].some((r) =>
		r.innerText.includes('web-2') && r.querySelector('.state.out') && r.innerText.includes('revoked'))`)
	if err != nil {
		return "", err
	}
	_, err = v.sees(ctx, "the refusal", `document.getElementById('refusals').innerText.includes('revoked')`)
	return fmt.Sprintf("web-2 is shown as put out %.2f s later, and as refused since", took.Seconds()), err
}

// contrast is the expression for all texts that are not as far from their background as WCAG 2 AA asks for.
const contrast = `(() => {
	const parse = (c) => c.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map((x) => (x /= 255) <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4)
		.reduce((sum, x, i) => sum + x * [.2126, .7152, .0722][i], 0);
	const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c; } };
	const bad = new Set();
	for (const e of document.querySelectorAll('body *')) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length) continue;
		const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))];
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < 4.5) bad.add(e.tagName + "." + e.className + " " + ratio.toFixed(2));
	}
	return [...bad].join("; ") || "none";
})()`

// lookAround looks at the page in both schemes and on a narrow screen, and takes the pictures.
func (v *visit) lookAround(ctx context.Context) (string, error) {
	if err := v.click(ctx, cell("web", "orders")); err != nil {
		return "", err
	}
	if _, err := v.sees(ctx, "an explanation", explains("web to orders", "denied now")); err != nil {
		return "", err
	}
	var backgrounds []string
	for _, c := range []struct {
		scheme, file string
		width        int
	}{{"light", "gui.png", 1280}, {"dark", "gui-dark.png", 1280}, {"light", "", 360}} {
		if err := v.look(ctx, c.width, c.scheme); err != nil {
			return "", err
		}
		if _, err := v.sees(ctx, "nothing that is cut off", `document.documentElement.scrollWidth <= innerWidth`); err != nil {
			return "", err
		}
		if _, err := v.sees(ctx, "texts that can be read", contrast+` === "none"`); err != nil {
			return "", err
		}
		background, err := v.eval(ctx, "getComputedStyle(document.documentElement).backgroundColor")
		if err != nil {
			return "", err
		}
		backgrounds = append(backgrounds, background)
		if v.pictures != "" && c.file != "" {
			if err := v.shoot(ctx, filepath.Join(v.pictures, c.file)); err != nil {
				return "", err
			}
		}
	}
	if backgrounds[0] == backgrounds[1] {
		return "", fmt.Errorf("light and dark are the same: %s", backgrounds[0])
	}
	return "all texts have the contrast of WCAG AA, and nothing is cut off", v.look(ctx, 1280, "light")
}

// watchPermission sees a permission act on the page within a second, and the explanation follow.
func (v *visit) watchPermission(ctx context.Context) (string, error) {
	if err := v.apply(ctx, permission("web", "ledger")); err != nil {
		return "", err
	}
	took, err := v.sees(ctx, "the cell to change", is("web", "ledger", "allowed"))
	if err != nil {
		return "", err
	}
	if took > time.Second {
		return "", fmt.Errorf("the cell has changed only %v after kumactl had applied it", took)
	}
	text, err := v.eval(ctx, `document.querySelector('#explanation pre').innerText`)
	if err != nil {
		return "", err
	}
	_, yaml, _ := strings.Cut(text, "\n") // after the line with the command
	if err := v.apply(ctx, strings.TrimSuffix(yaml, "EOF")); err != nil {
		return "", err
	}
	if _, err := v.sees(ctx, "the explanation to follow", explains("web to orders", "allowed")+" && window.sameDocument"); err != nil {
		return "", err
	}
	return fmt.Sprintf("the cell has changed %.2f s after kumactl; what the page gives to copy works as well", took.Seconds()), nil
}
