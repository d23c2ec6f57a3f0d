package cp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// shown is what a page shows that asks under this name of the host, once that is as it should be.
func (p *plane) shown(host string, is func(map[string]json.RawMessage) bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+p.addrs.API.String()+"/gui/events?mesh=default", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Host = host
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	parts := map[string]json.RawMessage{}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var m struct{ Parts map[string]json.RawMessage }
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			p.t.Fatal(err)
		}
		for key, part := range m.Parts {
			parts[key] = part
		}
		if is(parts) {
			return
		}
	}
	p.t.Fatalf("%s was never shown as it should be, but %s", host, parts)
}

// What a page is told of proxies is what is so, and has no id of a token. What was refused is for administrators, and kept from
// pages that another name leads to.
func TestGUIEvents(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	p.serve("web-1", "web", "token-of-web", csrOf(t, newSigner(t)))
	p.apply("old-1", dataplane("old-1", "old"))
	here, elsewhere := p.addrs.API.String(), "rebound.example:5681"
	for _, host := range []string{here, elsewhere} {
		p.shown(host, func(parts map[string]json.RawMessage) bool {
			web, old := string(parts["proxy:web-1"]), string(parts["proxy:old-1"])
			return strings.Contains(web, `"condition":"online"`) && strings.Contains(web, `"certificate":{"made":"`) && strings.Contains(web, `"token":{"ends":"`) &&
				strings.Contains(old, `"condition":"offline"`) && strings.Contains(string(parts["trust"]), `"stage":"settled"`) &&
				string(parts["row:web"]) == `"dd"`
		})
	}
	hostile := "x<img src=x onerror=alert(1)>"
	p.eventually("a line in the log about this peer", func() bool { // of which there is one a second
		p.askBootstrap("", map[string]any{"mesh": "default", "name": hostile, "workdir": "/w", "dataplaneToken": "bad"})
		return strings.Contains(p.log.String(), "onerror")
	})
	p.shown(here, func(parts map[string]json.RawMessage) bool {
		var all []struct{ Node, Check, Reason string }
		return json.Unmarshal(parts["refusals"], &all) == nil && len(all) == 2 && all[0].Node == "default."+hostile && all[0].Reason != ""
	})
	p.shown(elsewhere, func(parts map[string]json.RawMessage) bool {
		if parts["refusals"] != nil {
			t.Errorf("a rebound name is shown %s", parts["refusals"])
		}
		return parts["mesh"] != nil
	})
	p.rest("POST", "/tokens/dataplane/revocations", `{"mesh":"default","ids":["token-of-web"]}`)
	p.shown(here, func(parts map[string]json.RawMessage) bool {
		web := string(parts["proxy:web-1"])
		if strings.Contains(web, "token-of-web") {
			t.Errorf("the id of a token is shown: %s", web)
		}
		return strings.Contains(web, `"condition":"out"`) && strings.Contains(web, `"fault":"revoked"`)
	})
}

// Another control plane's proxies are shown as those of this one are.
func TestGUIOfSeveral(t *testing.T) {
	t.Parallel()
	_, a, b := inTwo(t)
	for _, m := range []*member{a, b} {
		m.shown(m.addrs.API.String(), func(parts map[string]json.RawMessage) bool {
			for _, name := range []string{"web-1", "backend-1"} {
				var p struct {
					Condition string
					Token     struct{ Ends time.Time }
				}
				if json.Unmarshal(parts["proxy:"+name], &p) != nil || p.Condition != "online" || p.Token.Ends.IsZero() {
					return false
				}
			}
			return true
		})
	}
}
