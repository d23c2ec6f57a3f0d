package agent_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"koguma/xds"
)

// An Envoy never sees a note, over either variant of ADS.
func TestNotesStayWithTheAgent(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	noted(t, cp, "10.0.0.9:80", "front-web", 7)
	e := start(t, config(t, cp)).envoy()
	e.ask(xds.TypeListener)
	resources := e.next(xds.TypeListener).GetResources()
	delta, err := discoveryv3.NewAggregatedDiscoveryServiceClient(e.conn).DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = delta.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "default.web-1"}, TypeUrl: xds.TypeListener})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := delta.Recv()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resp.GetResources() {
		resources = append(resources, r.GetResource())
	}
	if len(resources) != 2 {
		t.Fatalf("%d listeners", len(resources))
	}
	for _, r := range resources {
		var l listenerv3.Listener
		if err := r.UnmarshalTo(&l); err != nil {
			t.Fatal(err)
		}
		if l.Metadata != nil || len(l.AccessLog) != 1 {
			t.Errorf("%s has metadata %v and %d access logs", l.Name, l.Metadata, len(l.AccessLog))
		}
	}
}

// To Envoy, a listener with other metadata is another listener, and the connections of the old one end. With another
// note they do not, because Envoy never sees it.
func TestWhyNotesAreTakenOff(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	h := newHouse(t, cp)
	cert := mint(t, cp.meshCA, "spiffe://default/client", time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
	c, err := tls.Dial("tcp", h.tcp.String(), &tls.Config{
		ServerName: "client.web-tcp.default", InsecureSkipVerify: true, Certificates: []tls.Certificate{*cert},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	use := func() error {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: web\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
		}
		return err
	}
	if err := use(); err != nil {
		t.Fatal(err)
	}
	change := func(f func(*listenerv3.Listener)) {
		t.Helper()
		taken := cp.saw(is(xds.Acked, xds.TypeListener))
		cp.set(func(s *xds.Snapshot) {
			var all []*xds.Resource
			for _, r := range s.Listeners.All() {
				var l listenerv3.Listener
				if err := proto.Unmarshal(r.Body, &l); err != nil {
					t.Error(err)
				}
				f(&l)
				all = append(all, resourceOf(t, l.Name, &l))
			}
			s.Listeners = xds.NewSet(all...)
		})
		cp.await(xds.Acked, xds.TypeListener, taken+1)
	}

	change(func(l *listenerv3.Listener) {
		for _, part := range l.Metadata.FilterMetadata {
			part.Fields["permissionVersion"] = structpb.NewStringValue("4")
		}
	})
	time.Sleep(drainTime + time.Second)
	if err := use(); err != nil {
		t.Error("another note:", err)
	}

	change(func(l *listenerv3.Listener) { l.Metadata.FilterMetadata["other"] = &structpb.Struct{} })
	_ = c.SetReadDeadline(time.Now().Add(drainTime + 5*time.Second))
	if _, err := r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("other metadata: the connection is still open: %v", err)
	}
}
