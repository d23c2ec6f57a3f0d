package envoy_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"koguma/envoy"
)

// An Envoy with the agent's bootstrap is ready as soon as the ADS server answers, and has nothing to warn of.
func TestAgentsBootstrap(t *testing.T) {
	t.Parallel()
	for _, variant := range []string{"agent", "agent-delta"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			cfg := agentConfig(t, variant)
			var stderr bytes.Buffer
			cfg.Stderr = &stderr
			begun := time.Now()
			p := start(t, cfg)
			ready(t, cfg.AdminSocket)
			t.Logf("ready after %v", time.Since(begun))
			if err := unix.Kill(p.PID(), unix.SIGKILL); err != nil { // SIGTERM alone makes it warn
				t.Fatal(err)
			}
			<-p.Done()
			if said := stderr.String(); said != "" {
				t.Errorf("Envoy said: %s", said)
			}
		})
	}
}

// BenchmarkStart is the time from Start to ready, which nothing in front of Envoy can make shorter.
func BenchmarkStart(b *testing.B) {
	cfg := agentConfig(b, "agent")
	for b.Loop() {
		p := start(b, cfg)
		ready(b, cfg.AdminSocket)
		p.Stop(0)
	}
}

// agentConfig is that of an Envoy with a bootstrap of package bootstrap and an ADS server that has nothing to give.
func agentConfig(t testing.TB, variant string) envoy.Config {
	t.Helper()
	cfg := config(t)
	text, err := os.ReadFile("../bootstrap/testdata/" + variant + ".json")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(cfg.AdminSocket)
	cfg.Bootstrap = bytes.ReplaceAll(text, []byte("/run/kuma-dp"), []byte(dir))

	listener, err := net.Listen("unix", filepath.Join(dir, "ads.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, nothing{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return cfg
}

// nothing answers each first request for a type with no resource of it.
type nothing struct{}

func (nothing) StreamAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		if r.ResponseNonce != "" {
			continue
		}
		if err := stream.Send(&discoveryv3.DiscoveryResponse{TypeUrl: r.TypeUrl, VersionInfo: "1", Nonce: "1"}); err != nil {
			return err
		}
	}
}

func (nothing) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		if r.ResponseNonce != "" {
			continue
		}
		if err := stream.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: r.TypeUrl, Nonce: "1"}); err != nil {
			return err
		}
	}
}
