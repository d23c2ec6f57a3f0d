package cp_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"koguma/cp/cptest"
	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// get gets a path, whatever comes of it.
func (p *plane) get(path string) cptest.Response {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), "GET", "http://"+p.addrs.API.String()+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return send(p.t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, r)
}

// connection is what is said of a connection, by the query that asks.
func (p *plane) connection(query string) policy.Connection {
	p.t.Helper()
	var c policy.Connection
	got := p.get("/meshes/default/connections?" + query)
	if err := policy.Decode([]byte(got.Body), &c); got.Status != http.StatusOK || err != nil {
		p.t.Fatalf("%d %v %s", got.Status, err, got.Body)
	}
	return c
}

// Who is meant is said, and that somebody else could have been.
func TestWhoIsMeant(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.apply("web", dataplane("web", "front"))
	p.apply("web-1", dataplane("web-1", "web"))
	p.apply("backend-1", dataplane("backend-1", "backend,db"))
	p.put("/meshes/other", `{"type":"Mesh","name":"other"}`)
	p.put("/meshes/other/dataplanes/far-1", strings.Replace(dataplane("far-1", "far"), `"default"`, `"other"`, 1))
	for _, c := range []struct {
		query, from, to string
		pairs           int
		code            string // as a whole
		note            bool
	}{
		{"from=web&to=backend", "service:web", "service:backend", 1, "", true},
		{"from=service:web&to=backend", "service:web", "service:backend", 1, "", false},
		{"from=proxy:web&to=backend", "proxy:web", "service:backend", 1, "", false},
		{"from=web-1&to=backend-1", "proxy:web-1", "proxy:backend-1", 2, "", false},
		{"from=web-1&to=backend-1&port=8081", "proxy:web-1", "proxy:backend-1", 1, "", false},
		{"from=web-1&to=backend-1&port=9", "proxy:web-1", "proxy:backend-1", 0, policy.CauseNoSuchPort, false},
		{"from=nobody&to=backend", "nobody", "", 0, policy.CauseNoSuchService, false},
		{"from=web-1&to=proxy:backend", "proxy:web-1", "proxy:backend", 0, policy.CauseNoSuchProxy, false},
		{"from=service:web-1&to=backend", "service:web-1", "", 0, policy.CauseNoSuchService, false},
		{"from=far&to=backend", "far", "", 0, policy.CauseWrongMesh, false},
		{"from=web-1&to=far-1", "proxy:web-1", "far-1", 0, policy.CauseWrongMesh, false},
	} {
		got := p.connection(c.query)
		code := ""
		if got.Cause != nil {
			code = got.Cause.Code
		}
		if got.From.String() != c.from || got.To.String() != c.to || len(got.Pairs) != c.pairs || code != c.code ||
			(len(got.Notes) > 0) != c.note || got.Verdict != policy.Denied {
			t.Errorf("%s: %+v, cause %q", c.query, got, code)
		}
	}
	for query, say := range map[string]string{
		"": "from", "from=a": "to", "to=a": "from", "from=a&to=b&to=c": "each once", "from=a&to=b&x=c": "each once",
		"from=a&to=b&port=0": "port", "from=a&to=b&port=web": "port", "from=%&to=b": "query",
	} {
		p.get("/meshes/default/connections?"+query).WantProblem(t, 400, say)
	}
	p.get("/meshes/nowhere/connections?from=a&to=b").WantProblem(t, 404, "nowhere")
}

// More pairs are judged than are listed, of which those that are denied come first.
func TestManyPairs(t *testing.T) {
	t.Parallel()
	p := start(t)
	for i := range 12 {
		for _, service := range []string{"web", "backend"} {
			name := fmt.Sprintf("%s-%d", service, i)
			p.apply(name, dataplane(name, service))
		}
	}
	c := p.connection("from=web&to=backend")
	if len(c.Pairs) != 100 || c.More != 44 || c.Verdict != policy.Denied || c.Pairs[0].Cause.Code != policy.CauseNotConnected {
		t.Errorf("%d pairs and %d more, %s, %+v", len(c.Pairs), c.More, c.Verdict, c.Pairs[0])
	}
}

// What was written is pending with those that are connected until they ACK it; the others are named.
func TestDelivery(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.apply("ghost-1", dataplane("ghost-1", "ghost"))
	s := p.joinBy(p.conn, variants[0], sign(t, token.Claims{Mesh: "default"}), node(t, "default.web-1", brought(dataplane("web-1", "web"))))
	delivery := func(version string) policy.Delivery {
		t.Helper()
		var d policy.Delivery
		got := p.get("/meshes/default/_delivery?version=" + version)
		if err := policy.Decode([]byte(got.Body), &d); got.Status != http.StatusOK || err != nil {
			t.Fatalf("%d %v %s", got.Status, err, got.Body)
		}
		return d
	}
	for _, typ := range []string{xds.TypeCluster, xds.TypeListener} {
		s.ask(typ)
		s.expect(typ)
	}
	got := p.get("/meshes/default/dataplanes/web-1")
	version := got.Header.Get("Koguma-Version")
	p.eventually("all to be there", func() bool { return len(delivery(version).Pending) == 0 })
	d := delivery(version)
	if d.Proxies != 1 || len(d.Absent) != 1 || d.Absent[0].Proxy != "ghost-1" || d.Absent[0].Lost || d.Mesh != "default" {
		t.Errorf("%+v", d)
	}
	if d := delivery("1000000"); len(d.Pending) != 1 || d.Pending[0].Proxy != "web-1" || d.Version == 0 {
		t.Errorf("of a version to come: %+v", d)
	}
	p.apply("web-1", strings.Replace(dataplane("web-1", "web"), "8080", "8090", 1))
	version = p.get("/meshes/default/dataplanes/web-1").Header.Get("Koguma-Version")
	u := s.hold()
	p.eventually("that it lacks the new listeners", func() bool {
		d := delivery(version)
		return len(d.Pending) == 1 && d.Pending[0].Type == "listeners"
	})
	s.answer(u, "no such luck")
	p.eventually("the refusal", func() bool {
		d := delivery(version)
		return len(d.Pending) > 0 && strings.Contains(fmt.Sprint(d.Pending), "no such luck")
	})
	for _, query := range []string{"", "?version=", "?version=-1", "?version=1&version=2", "?version=1&x=1", "?x=%"} {
		p.get("/meshes/default/_delivery"+query).WantProblem(t, 400, "version")
	}
}

// A deletion has a version too, which comes even when nothing else is written.
func TestDeliveryOfDeletion(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.apply("ghost-1", dataplane("ghost-1", "ghost"))
	before := p.get("/meshes/default/dataplanes/ghost-1").Header.Get("Koguma-Version")
	r, err := http.NewRequestWithContext(t.Context(), "DELETE", "http://"+p.addrs.API.String()+"/meshes/default/dataplanes/ghost-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	version := send(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, r).Header.Get("Koguma-Version")
	deleted, err := strconv.ParseUint(version, 10, 64)
	if err != nil || version == before {
		t.Fatalf("the version is %q, and was %q", version, before)
	}
	p.eventually("the deletion to be heard of", func() bool {
		var d policy.Delivery
		got := p.get("/meshes/default/_delivery?version=" + version)
		return policy.Decode([]byte(got.Body), &d) == nil && d.Version >= deleted
	})
}
