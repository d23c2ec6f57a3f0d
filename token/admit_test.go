package token_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"koguma/policy"
	"koguma/token"
)

type tags = map[string]string

// proxy is dp-1 of mesh default with an inbound for each set of tags.
func proxy(inbounds ...tags) *policy.Dataplane {
	d := &policy.Dataplane{Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: "default", Name: "dp-1"}}
	d.Networking.Address = "127.0.0.1"
	for i, t := range inbounds {
		d.Networking.Inbound = append(d.Networking.Inbound, policy.Inbound{Port: 8000 + i, Tags: t})
	}
	return d
}

func gateway(t tags, inbounds ...tags) *policy.Dataplane {
	d := proxy(inbounds...)
	d.Networking.Gateway = &policy.Gateway{Tags: t}
	return d
}

func service(names ...string) map[string][]string {
	return map[string][]string{"kuma.io/service": names}
}

// The rows of the boundary corpus, by their numbers. want "" is: admitted.
func TestAdmitRows(t *testing.T) {
	t.Parallel()
	web, api := tags{"kuma.io/service": "web"}, tags{"kuma.io/service": "api"}
	web1 := tags{"kuma.io/service": "web", "version": "1"}
	web2 := tags{"kuma.io/service": "web", "version": "2"}
	webV1 := map[string][]string{"kuma.io/service": {"web"}, "version": {"1"}}
	named := proxy(web)
	named.Name = "dp-2"
	elsewhere := proxy(web)
	elsewhere.Mesh = "other"
	for _, test := range []struct {
		name  string
		token token.Claims
		proxy *policy.Dataplane
		want  token.Reason
	}{
		{"1 mesh only", token.Claims{}, proxy(web), ""},
		{"1 mesh only, two inbounds", token.Claims{}, proxy(web, api), ""},
		{"1 mesh only, gateway", token.Claims{}, gateway(web), ""},
		{"2 another mesh", token.Claims{}, elsewhere, "mesh"},
		{"3 name", token.Claims{Name: "dp-1"}, proxy(web), ""},
		{"4 another name", token.Claims{Name: "dp-1"}, named, "name"},
		{"4 part of the name", token.Claims{Name: "dp"}, proxy(web), "name"},
		{"4 name in another case", token.Claims{Name: "DP-1"}, proxy(web), "name"},
		{"5 service", token.Claims{Tags: service("web")}, proxy(web), ""},
		{"6 one of two services", token.Claims{Tags: service("web", "web-api")}, proxy(web), ""},
		{"7 both services", token.Claims{Tags: service("web", "web-api")}, proxy(web, tags{"kuma.io/service": "web-api"}), ""},
		{"8 one inbound too many", token.Claims{Tags: service("web")}, proxy(web, tags{"kuma.io/service": "web-api"}), "tags"},
		{"9 another service", token.Claims{Tags: service("web")}, proxy(api), "tags"},
		{"9 another case", token.Claims{Tags: service("web")}, proxy(tags{"kuma.io/service": "Web"}), "tags"},
		{"10 service and version", token.Claims{Tags: webV1}, proxy(web1), ""},
		{"11 tag missing", token.Claims{Tags: webV1}, proxy(web), "tags"},
		{"12 tag missing at one inbound", token.Claims{Tags: webV1}, proxy(web1, web), "tags"},
		{"13 another version at one inbound", token.Claims{Tags: webV1}, proxy(web1, web2), "tags"},
		{"14 a tag that the token does not name", token.Claims{Tags: service("web")}, proxy(web1), ""},
		{"16 service *", token.Claims{Tags: service("*")}, proxy(web), "tags"},
		{"17 no value", token.Claims{Tags: service()}, proxy(web), "tags"},
		{"17 empty value", token.Claims{Tags: service("")}, proxy(tags{"kuma.io/service": ""}), "tags"},
		{"17 empty value beside a good one", token.Claims{Tags: service("web", "")}, proxy(web), "tags"},
		{"17 tag without a name", token.Claims{Tags: map[string][]string{"": {"web"}}}, proxy(tags{"": "web"}), "tags"},
		{"18 no inbound", token.Claims{Tags: service("web")}, proxy(), "tags"},
		{"19 gateway", token.Claims{Tags: service("gw")}, gateway(tags{"kuma.io/service": "gw"}), ""},
		{"20 another gateway", token.Claims{Tags: service("gw")}, gateway(web), "tags"},
		{"21 gateway of ours, inbound of another", token.Claims{Tags: service("web")}, gateway(web, api), "tags"},
		{"21 inbound of ours, gateway of another", token.Claims{Tags: service("web")}, gateway(api, web), "tags"},
		{"23 type dataplane", token.Claims{Type: "dataplane"}, proxy(web), ""},
		{"24 type in another case", token.Claims{Type: "Dataplane"}, proxy(web), "type"},
		{"25 type ingress", token.Claims{Type: "ingress"}, proxy(web), "type"},
		{"26 type egress", token.Claims{Type: "egress"}, proxy(web), "type"},
		{"27 type ingress with a service", token.Claims{Type: "ingress", Tags: service("web")}, proxy(web), "type"},
		{"29 tag in another case", token.Claims{Tags: service("web")}, proxy(tags{"Kuma.io/service": "web"}), "tags"},
		{"31 the new resource is ours", token.Claims{Tags: service("web")}, proxy(web), ""},
		{"31 the stored one is not", token.Claims{Tags: service("web")}, proxy(api), "tags"},
		{"35 an inbound was added", token.Claims{Tags: service("web")}, proxy(web, api), "tags"},
		{"36 workload", token.Claims{Workload: "w"}, proxy(web), "workload"},
	} {
		c := test.token
		c.Mesh = "default"
		err := c.Admit(test.proxy)
		check(t, test.name, err, test.want)
		if r := (*token.Refusal)(nil); errors.As(err, &r) {
			leaks(t, test.name, err.Error(), "")
			if !r.Reason.Boundary() {
				t.Errorf("%s: %q is no boundary", test.name, r.Reason)
			}
		}
	}
	check(t, "37 no mesh at all", token.Claims{}.Admit(&policy.Dataplane{}), "mesh")
}

// The message says what to type, for this very proxy.
func TestAdmitSaysWhatToDo(t *testing.T) {
	t.Parallel()
	c := token.Claims{Mesh: "default", Tags: service("web", "admin")}
	err := c.Admit(proxy(tags{"kuma.io/service": "api"}))
	want := `token refused: the inbound at port 8000 has "api" for the tag "kuma.io/service", and it allows ["admin" "web"]; ` +
		`make a new one with kumactl generate dataplane-token --mesh default --name dp-1 --tag kuma.io/service=api --valid-for 720h`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	d := proxy(tags{"kuma.io/service": "a\nb; rm -rf /"})
	d.Name = "$(x)\r\n"
	leaks(t, "hostile names", c.Admit(d).Error(), "")
}

// A random token and a random proxy, of few enough words that they often fit.
func draw(r *rand.Rand) (token.Claims, *policy.Dataplane) {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	c := token.Claims{Mesh: "default", Name: pick("", "dp-1"), Type: pick("", "dataplane"), Tags: map[string][]string{}}
	for range r.IntN(3) {
		tag := pick("kuma.io/service", "version")
		c.Tags[tag] = append(c.Tags[tag], pick("a", "b", "c"))
	}
	d := proxy()
	for i := range 1 + r.IntN(3) {
		d.Networking.Inbound = append(d.Networking.Inbound, policy.Inbound{Port: i + 1, Tags: drawTags(r)})
	}
	return c, d
}

func drawTags(r *rand.Rand) tags {
	t := tags{"kuma.io/service": string('a' + rune(r.IntN(3)))}
	if r.IntN(2) == 0 {
		t["version"] = string('a' + rune(r.IntN(3)))
	}
	return t
}

// Widening a token never shuts a proxy out, another inbound never lets one in, and order means nothing.
func TestAdmitProperties(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	admitted := 0
	for range 20_000 {
		c, d := draw(r)
		before := c.Admit(d) == nil
		if before {
			admitted++
		}
		for tag := range c.Tags {
			wide := c
			wide.Tags = map[string][]string{}
			for k, v := range c.Tags {
				wide.Tags[k] = v
			}
			wide.Tags[tag] = append(slices.Clone(c.Tags[tag]), "z")
			if before && wide.Admit(d) != nil {
				t.Fatalf("%v admits %+v, but not with one more value for %s", c, d, tag)
			}
			slices.Reverse(wide.Tags[tag])
			delete(wide.Tags, tag)
			if before && wide.Admit(d) != nil {
				t.Fatalf("%v admits %+v, but not without %s", c, d, tag)
			}
		}
		wide := c
		wide.Name = ""
		if before && wide.Admit(d) != nil {
			t.Fatalf("%v admits %+v, but not without a name", c, d)
		}
		turned := *d
		turned.Networking.Inbound = slices.Clone(d.Networking.Inbound)
		slices.Reverse(turned.Networking.Inbound)
		if (c.Admit(&turned) == nil) != before {
			t.Fatalf("%v, %+v: the order of inbounds matters", c, d)
		}
		more := *d
		more.Networking.Inbound = append(slices.Clone(d.Networking.Inbound), policy.Inbound{Port: 9, Tags: drawTags(r)})
		if !before && c.Admit(&more) == nil {
			t.Fatalf("%v does not admit %+v, but does with one inbound more", c, d)
		}
		for _, s := range d.Services() {
			if allowed, bound := c.Tags["kuma.io/service"]; before && bound && !slices.Contains(allowed, s) {
				t.Fatalf("%v admits %+v with service %s", c, d, s)
			}
		}
	}
	if admitted < 1000 || admitted > 19_000 {
		t.Errorf("%d of 20,000 admitted: the draws test nothing", admitted)
	}
}

// Admit agrees with a model that reads off the rule.
func FuzzAdmit(f *testing.F) {
	f.Add("default", "dp-1", "", "kuma.io/service", "web", "kuma.io/service", "web", "web")
	f.Add("default", "", "ingress", "version", "1,2", "version", "1", "2")
	f.Add("other", "", "dataplane", "", "", "a", "", "")
	f.Fuzz(func(t *testing.T, mesh, name, typ, tag, values, key, first, second string) {
		c := token.Claims{Mesh: mesh, Name: name, Type: typ, Tags: map[string][]string{tag: strings.Split(values, ",")}}
		d := proxy(tags{key: first}, tags{key: second})
		allowed := "," + values + ","
		want := mesh == "default" && (name == "" || name == "dp-1") && (typ == "" || typ == "dataplane") &&
			tag != "" && tag == key && !strings.Contains(allowed, ",,") &&
			!strings.Contains(first+second, ",") && first != "" && second != "" &&
			strings.Contains(allowed, ","+first+",") && strings.Contains(allowed, ","+second+",")
		err := c.Admit(d)
		if (err == nil) != want {
			t.Errorf("%+v, %q, %q, %q: got %v, want %v", c, key, first, second, err, want)
		}
		if err != nil {
			leaks(t, "admit", err.Error(), "")
		}
	})
}
