package cp_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
	"koguma/xds"
)

// networking is a Dataplane dp-1 whose networking has this beside its address.
func networking(text string) string {
	return `{"type":"Dataplane","mesh":"default","name":"dp-1","networking":{"address":"10.0.0.1",` + text + `}}`
}

// The lines of the corpus of boundaries: what a token says, what the proxy is, and whether it may be.
func TestBoundaryRows(t *testing.T) {
	t.Parallel()
	p := start(t)
	const web = `"inbound":[{"port":80,"servicePort":8080,"tags":{"kuma.io/service":"web"}}]`
	in := func(tags ...string) string {
		var all []string
		for i, set := range tags {
			all = append(all, fmt.Sprintf(`{"port":%d,"servicePort":8080,"tags":{%s}}`, 80+i, set))
		}
		return `"inbound":[` + strings.Join(all, ",") + `]`
	}
	const (
		sWeb, sAPI, v1, v2 = `"kuma.io/service":"web"`, `"kuma.io/service":"web-api"`, `"version":"1"`, `"version":"2"`
		gw                 = `"gateway":{"tags":{"kuma.io/service":"gw"}}`
		invalid            = "invalid"
	)
	service := func(values string) string { return `"Tags":{"kuma.io/service":[` + values + `]}` }
	const webV1 = `"Tags":{"kuma.io/service":["web"],"version":["1"]}`
	for _, row := range []struct{ name, claims, networking, check string }{
		{"1 the mesh", ``, web, ""},
		{"2 another mesh", `"Mesh":"other"`, web, "mesh"},
		{"3 the name", `"Name":"dp-1"`, web, ""},
		{"4 another name", `"Name":"dp-2"`, web, "name"},
		{"5 the service", service(`"web"`), web, ""},
		{"6 the service, twice", service(`"web"`), in(sWeb, sWeb), ""},
		{"7 two services", service(`"web","web-api"`), in(sWeb, sAPI), ""},
		{"8 one of two services", service(`"web"`), in(sWeb, sAPI), "tags"},
		{"9 another service", service(`"web"`), in(sAPI), "tags"},
		{"10 name and service", `"Name":"dp-1",` + service(`"web"`), web, ""},
		{"10 name, another service", `"Name":"dp-1",` + service(`"web-api"`), web, "tags"},
		{"11 no version", webV1, web, "tags"},
		{"12 one inbound without a version", webV1, in(sWeb+","+v1, sWeb), "tags"},
		{"13 one inbound of another version", webV1, in(sWeb+","+v1, sWeb+","+v2), "tags"},
		{"14 both versions", `"Tags":{"version":["2","1"]}`, in(sWeb+","+v1, sWeb+","+v2), ""},
		{"16 more tags than it names", service(`"web"`), in(sWeb + "," + v1), ""},
		{"17 no value", service(``), web, "tags"},
		{"17 no tags", `"Tags":{}`, web, ""},
		{"18 an empty value", service(`""`), web, "tags"},
		{"19 the gateway", service(`"gw"`), gw, ""},
		{"20 another gateway", service(`"web"`), gw, "tags"},
		{"21 gateway and inbound", service(`"web","gw"`), web + "," + gw, invalid},
		{"23 ingress", ``, `"ingress":{},` + web, invalid},
		{"24 of type dataplane", `"Type":"dataplane"`, web, ""},
		{"25 of type ingress", `"Type":"ingress"`, web, "type"},
		{"26 of type egress", `"Type":"egress"`, web, "type"},
		{"27 ingress and service", `"Type":"ingress",` + service(`"web"`), web, "type"},
		{"28 a workload", `"Workload":"w"`, web, "workload"},
		{"29 a tag in another case", service(`"web"`), in(`"Kuma.io/service":"web"`), invalid},
		{"30 a value in another case", service(`"Web"`), web, "tags"},
	} {
		t.Run(row.name, func(t *testing.T) {
			claims := strings.TrimSuffix(strings.Join([]string{fmt.Sprintf(`{"exp":%d`, time.Now().Unix()+3600), row.claims}, ","), ",")
			if !strings.Contains(claims, `"Mesh"`) {
				claims += `,"Mesh":"default"`
			}
			raw := jwt(t, goodHeader, claims+"}")
			s := p.open(p.conn, "sotw", raw)
			s.t = t
			before := p.contents()
			s.askAs(node(t, "default.dp-1", brought(networking(row.networking))), xds.TypeCluster)
			switch row.check {
			case "":
				s.expect(xds.TypeCluster)
				s.leave()
				p.eventually("the Dataplane to go", func() bool { return p.dataplanes() == "" })
				return
			case invalid:
				s.ended(codes.InvalidArgument)
			default:
				s.refused(row.check, raw)
			}
			if after := p.contents(); after != before {
				t.Errorf("the store has changed from %s to %s", before, after)
			}
		})
	}
}

// Rows 31 and 32: a name cannot be taken over by a token that does not fit who has it, be it with a Dataplane that it
// fits or with none, and whoever wrote the one that is there.
func TestNameIsNotTakenOver(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.apply("api-1", dataplane("api-1", "api"))
	live := p.join("api-2", brought(dataplane("api-2", "api")))
	before := p.contents()
	web := sign(t, token.Claims{Mesh: "default", Tags: map[string][]string{"kuma.io/service": {"web"}}})
	for _, name := range []string{"api-1", "api-2"} {
		for _, data := range []map[string]any{brought(dataplane(name, "web")), brought(dataplane(name, "api")), nil} {
			s := p.open(p.conn, "delta", web)
			s.askAs(node(t, "default."+name, data), xds.TypeCluster)
			s.refused("tags", web)
		}
	}
	if after := p.contents(); after != before {
		t.Errorf("the store has changed from %s to %s", before, after)
	}
	p.permit("p", "api", "web") // the live one is still there, and the permission is nothing to it without mTLS
	p.mtls("1h")
	live.expect(xds.TypeListener)
}

// lateDataplane is a store in which somebody writes a Dataplane just after it was looked for.
type lateDataplane struct {
	store.Store
	late policy.Resource
}

func (s *lateDataplane) Get(ctx context.Context, key policy.Key) (policy.Resource, error) {
	r, err := s.Store.Get(ctx, key)
	if late := s.late; key.Type == policy.TypeDataplane && late != nil {
		s.late = nil
		if err := s.Write(ctx, store.Op{Put: late, Expect: store.Any}); err != nil {
			return nil, err
		}
	}
	return r, err
}

// newCore is a core over a store. It does not run.
func newCore(t testing.TB, s store.Store) *cp.Core {
	t.Helper()
	key, err := token.ParseKey(cptest.SigningKey())
	if err != nil {
		t.Fatal(err)
	}
	return cp.NewCore(s, oneKey{&key.PublicKey}, time.Hour, slog.New(slog.DiscardHandler))
}

// accept is what becomes of a stream with this token and node.
func accept(t testing.TB, a xds.Acceptor, raw string, n *corev3.Node) error {
	t.Helper()
	ctx := grpcmetadata.NewIncomingContext(t.Context(), grpcmetadata.Pairs("authorization", raw))
	session, err := a.Accept(ctx, n, func(error) {})
	if err == nil {
		session.Close(false)
	}
	return err
}

func parse(t testing.TB, text string) policy.Resource {
	t.Helper()
	r, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Nor is there a moment between the look at who has a name and the taking of it.
func TestNameIsNotTakenOverInARace(t *testing.T) {
	t.Parallel()
	s := &lateDataplane{store.NewMemory(), parse(t, dataplane("dp-1", "api"))}
	defer s.Close()
	if err := s.Write(t.Context(), store.Op{Put: cptest.Mesh("default"), Expect: store.Absent}); err != nil {
		t.Fatal(err)
	}
	web := sign(t, token.Claims{Mesh: "default", Tags: map[string][]string{"kuma.io/service": {"web"}}})
	err := accept(t, newCore(t, s), web, node(t, "default.dp-1", brought(dataplane("dp-1", "web"))))
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v, want PermissionDenied", err)
	}
	d, err := s.Get(t.Context(), policy.Key{Type: policy.TypeDataplane, Mesh: "default", Name: "dp-1"})
	if err != nil {
		t.Fatal(err)
	}
	if services := d.(*policy.Dataplane).Services(); services[0] != "api" {
		t.Errorf("dp-1 now stands for %q", services)
	}
}

// A live proxy whose Dataplane is edited beyond its token is let go at once, with no certificate for what it may not be, and
// nobody else is. One that is edited within its token stays.
func TestEditBeyondToken(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	p.apply("web-1", dataplane("web-1", "web"))
	web := sign(t, token.Claims{Mesh: "default", Tags: map[string][]string{"kuma.io/service": {"web", "web-api"}}})
	s := p.joinBy(p.conn, "sotw", web, node(t, "default.web-1", nil))
	s.ask(xds.TypeSecret, identity, identity+":web-api", identity+":api")
	s.expect(xds.TypeSecret)
	other := p.join("other-1", brought(dataplane("other-1", "other")))

	p.apply("web-1", dataplane("web-1", "web,web-api"))
	if got := s.expect(xds.TypeSecret).resources; got[identity+":web-api"] == nil {
		t.Errorf("got %v", got)
	}
	s.expect(xds.TypeCluster)
	s.expect(xds.TypeListener)
	issued := p.issued()
	p.apply("web-1", dataplane("web-1", "web,api"))
	m := s.ended(codes.PermissionDenied, "token refused: ", "api")
	if strings.ContainsAny(m, "\r\n") {
		t.Errorf("not one line: %q", m)
	}
	p.permit("p", "other", "x")
	other.expect(xds.TypeListener)
	if n := p.issued(); n != issued {
		t.Errorf("%d certificates issued beyond the token", n-issued)
	}
	if sub, _ := p.subscription("web-1"); sub.DisconnectTime.IsZero() {
		t.Error("the proxy counts as connected")
	}
}

// A Dataplane that is deleted takes its live proxy along, which is told so.
func TestDeletedUnderLiveProxy(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.apply("web-1", dataplane("web-1", "web"))
	applied, registered := p.join("web-1", nil), p.join("web-2", brought(dataplane("web-2", "web")))
	p.delete("/meshes/default/dataplanes/web-1")
	applied.ended(codes.NotFound, "web-1", "deleted")
	p.delete("/meshes/default/dataplanes/web-2")
	registered.ended(codes.NotFound, "web-2", "deleted")
	p.eventually("all to be gone", func() bool { return p.metric("koguma_sessions") == 0 })
	p.apply("web-1", dataplane("web-1", "web"))
	if s, _ := p.subscription("web-1"); s.ID != "" {
		t.Errorf("a new Dataplane with the past of an old one: %+v", s)
	}
}

// FuzzAcceptNode: whatever a node says of itself, who it is remains a matter of its token.
func FuzzAcceptNode(f *testing.F) {
	for _, id := range []string{"default.dp-1", "default.", ".", "", "default.dp-1.x", "other.dp-1", "default.\xff"} {
		for _, d := range []string{dataplane("dp-1", "web"), dataplane("dp-1", "api"), "", "{", "[]", `{"type":"Mesh","name":"default"}`, `{"type":"Dataplane"}`} {
			f.Add(id, "dataplane", d)
		}
	}
	s := store.NewMemory()
	f.Cleanup(func() { s.Close() })
	if err := s.Write(f.Context(), store.Op{Put: cptest.Mesh("default"), Expect: store.Absent}); err != nil {
		f.Fatal(err)
	}
	core := newCore(f, s)
	web := sign(f, token.Claims{Mesh: "default", Name: "dp-1", Tags: map[string][]string{"kuma.io/service": {"web"}}})
	f.Fuzz(func(t *testing.T, id, proxyType, resource string) {
		n := &corev3.Node{Id: id, Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			"dataplane.proxyType": structpb.NewStringValue(proxyType),
			"dataplane.resource":  structpb.NewStringValue(resource),
		}}}
		err := accept(t, core, web, n)
		if _, ok := status.FromError(err); !ok {
			t.Errorf("no status: %v", err)
		}
		if err == nil && id != "default.dp-1" {
			t.Errorf("%q was let in", id)
		}
		all, err := s.List(t.Context(), policy.TypeDataplane, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if d := r.(*policy.Dataplane); d.Name != "dp-1" || strings.Join(d.Services(), " ") != "web" {
				t.Errorf("%s stands for %q", d.Key(), d.Services())
			}
		}
	})
}
