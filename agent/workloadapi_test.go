package agent_test

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"koguma/agent"
	"koguma/certs"
	"koguma/xds"
)

// socketDir is a folder whose path is short enough for a socket in it.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// workloadClient dials the Workload API, with the header that it wants.
func workloadClient(t *testing.T, socket string) (workload.SpiffeWorkloadAPIClient, context.Context) {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return workload.NewSpiffeWorkloadAPIClient(conn), metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", "true")
}

// withWorkloadAPI is an agent with a Workload API at a socket.
func withWorkloadAPI(t *testing.T, cfg agent.Config) (r *running, socket string) {
	t.Helper()
	cfg.WorkloadAPISocket = filepath.Join(socketDir(t), "api.sock")
	return start(t, cfg), cfg.WorkloadAPISocket
}

// Programs get what Envoy has taken: the first service's identity first, and each new one when Envoy has it.
func TestWorkloadAPIFollowsEnvoy(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.life = 4 * time.Second
	second := xds.IdentitySecretName("default", "api", false)
	cp.services[second] = "api"
	cfg := config(t, cp)
	cfg.Dataplane = web("web", "api")
	r, socket := withWorkloadAPI(t, cfg)
	e := r.envoy()
	e.takeAll(identityName, second, xds.CASecretName("default"))
	e.secret(second)
	cp.await(xds.Acked, xds.TypeSecret, 1)

	client, err := workloadapi.New(t.Context(), workloadapi.WithAddr("unix://"+socket))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	got, err := client.FetchX509Context(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range got.SVIDs {
		ids = append(ids, s.ID.String()+" "+s.Hint)
	}
	if got, want := strings.Join(ids, ", "), "spiffe://default/web web, spiffe://default/api api"; got != want {
		t.Errorf("identities %s, want %s", got, want)
	}
	if b, err := got.Bundles.GetX509BundleForTrustDomain(got.DefaultSVID().ID.TrustDomain()); err != nil || !b.HasX509Authority(cp.meshCA.Certificate()) {
		t.Errorf("bundle %v %v", b, err)
	}

	raw, ctx := workloadClient(t, socket)
	stream, err := raw.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	if err != nil {
		t.Fatal(err)
	}
	first := leafOf(t, stream)
	if !first.Equal(got.DefaultSVID().Certificates[0]) {
		t.Error("two clients see two certificates")
	}
	renewed := e.next(xds.TypeSecret)
	if id := r.whoami(); id.Certificates[0].Serial != certs.Serial(first) {
		t.Errorf("in use is %s, before Envoy has taken another one than %s", id.Certificates[0].Serial, certs.Serial(first))
	}
	var secret tlsv3.Secret
	if err := renewed.Resources[0].UnmarshalTo(&secret); err != nil {
		t.Fatal(err)
	}
	early, err := raw.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got := leafOf(t, early); !got.Equal(first) {
		t.Errorf("a program has %s, which Envoy has not taken yet", certs.Serial(got))
	}
	e.ack(renewed)
	if next := leafOf(t, stream); !next.Equal(keyPair(t, &secret)) {
		t.Errorf("the next certificate is %s, want that which Envoy has taken", certs.Serial(next))
	}
}

// leafOf is the leaf of the first identity in the next answer.
func leafOf(t *testing.T, stream workload.SpiffeWorkloadAPI_FetchX509SVIDClient) *x509.Certificate {
	t.Helper()
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := x509.ParseCertificates(resp.Svids[0].X509Svid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x509.ParsePKCS8PrivateKey(resp.Svids[0].X509SvidKey); err != nil {
		t.Error(err)
	}
	return chain[0]
}

// New roots and a revocation list come without a new certificate, and nothing comes twice.
func TestWorkloadAPIBundles(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	r, socket := withWorkloadAPI(t, config(t, cp))
	e := r.envoy()
	e.takeAll(identityName, xds.CASecretName("default"))
	e.secret(identityName)
	client, ctx := workloadClient(t, socket)
	stream, err := client.FetchX509Bundles(ctx, &workload.X509BundlesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next := func() *workload.X509BundlesResponse {
		t.Helper()
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	if got := next(); string(got.Bundles["spiffe://default"]) != string(cp.meshCA.Certificate().Raw) || len(got.Crl) != 0 {
		t.Errorf("bundles %v, %d lists", got.Bundles, len(got.Crl))
	}
	crl, err := cp.meshCA.RevocationList(nil, 7, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	secret := message(t, caSecret(t, cp.meshCA))
	secret.GetValidationContext().Crl = &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: crl}}
	cp.set(func(s *xds.Snapshot) { s.Secrets = xds.NewSet(resourceOf(t, secret.Name, secret)) })
	e.ack(e.next(xds.TypeSecret))
	got := next()
	if len(got.Crl) != 1 {
		t.Fatalf("%d revocation lists", len(got.Crl))
	}
	if list, err := x509.ParseRevocationList(got.Crl[0]); err != nil || list.Number.Int64() != 7 {
		t.Errorf("revocation list %v %v", list, err)
	}
}

// What cannot be had is refused in so many words, and with the code that the standard names.
func TestWorkloadAPIRefusals(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.services = nil // no mTLS
	r, socket := withWorkloadAPI(t, config(t, cp))
	r.envoy().takeAll()
	client, ctx := workloadClient(t, socket)
	svid := func(ctx context.Context) error {
		s, err := client.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	bare := metadata.NewOutgoingContext(ctx, metadata.MD{})
	wrong := metadata.NewOutgoingContext(ctx, metadata.Pairs("workload.spiffe.io", "yes"))
	_, jwt := client.FetchJWTSVID(ctx, &workload.JWTSVIDRequest{})
	_, validate := client.ValidateJWTSVID(ctx, &workload.ValidateJWTSVIDRequest{})
	_, bareJWT := client.FetchJWTSVID(bare, &workload.JWTSVIDRequest{})
	for name, test := range map[string]struct {
		err  error
		code codes.Code
		says string
	}{
		"no identity":      {svid(ctx), codes.PermissionDenied, "no identity issued"},
		"no header":        {svid(bare), codes.InvalidArgument, "workload.spiffe.io: true"},
		"wrong header":     {svid(wrong), codes.InvalidArgument, "workload.spiffe.io: true"},
		"JWT, no header":   {bareJWT, codes.InvalidArgument, "workload.spiffe.io: true"},
		"JWT":              {jwt, codes.Unimplemented, "no JWT-SVIDs"},
		"JWT to be judged": {validate, codes.Unimplemented, "no JWT-SVIDs"},
	} {
		if got := status.Convert(test.err); got.Code() != test.code || !strings.Contains(got.Message(), test.says) {
			t.Errorf("%s: %v, want %v %q", name, test.err, test.code, test.says)
		}
	}
}

// An identity that has ended is not given out, and whoever follows it is told.
func TestWorkloadAPIEndsWithTheIdentity(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.life = 2 * time.Second
	r, socket := withWorkloadAPI(t, config(t, cp))
	e := r.envoy()
	e.takeAll(identityName, xds.CASecretName("default"))
	e.secret(identityName)
	client, ctx := workloadClient(t, socket)
	stream, err := client.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, stream)
	cp.down()
	for err == nil {
		_, err = stream.Recv()
	}
	if early := time.Until(leaf.NotAfter); status.Code(err) != codes.PermissionDenied || early > 0 {
		t.Errorf("ended with %v, %v before the end", err, early)
	}
}

// A client that does not read holds nobody up, and gets the newest when it does; too many at a time are refused.
func TestWorkloadAPISlowClients(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	r, socket := withWorkloadAPI(t, config(t, cp))
	e := r.envoy()
	e.takeAll(identityName, xds.CASecretName("default"))
	e.secret(identityName)
	client, ctx := workloadClient(t, socket)
	other, _ := workloadClient(t, socket)
	var refused error
	for range agent.MostStreams + 1 {
		stream, err := client.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil { // and never again
			refused = err
		}
		client, other = other, client
	}
	if status.Code(refused) != codes.ResourceExhausted {
		t.Errorf("one too many is told %v", refused)
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A proxy whose Envoy has no use for a certificate, or has none any more, or is away, still has one for programs, and keeps
// it new.
func TestWorkloadAPIWithoutEnvoy(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"never asked", "asked once", "away"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cp := startCP(t)
			cp.life = 6 * time.Second
			r, socket := withWorkloadAPI(t, config(t, cp))
			e := r.envoy()
			e.takeAll()
			if name != "never asked" {
				e.ask(xds.TypeSecret, identityName, xds.CASecretName("default"))
				e.secret(identityName)
				cp.await(xds.Acked, xds.TypeSecret, 1)
			}
			switch name {
			case "asked once":
				e.ask(xds.TypeSecret)
			case "away":
				e.close()
			}
			keptNew(t, socket)
			if id := r.whoami(); len(id.Certificates) == 0 || name == "never asked" && !id.Certificates[0].Acked {
				t.Errorf("certificates %+v", id.Certificates)
			}
		})
	}
}

// keptNew fails unless programs get the next certificate in time.
func keptNew(t *testing.T, socket string) {
	t.Helper()
	client, ctx := workloadClient(t, socket)
	var stream workload.SpiffeWorkloadAPI_FetchX509SVIDClient
	var first *x509.Certificate
	eventually(t, func() (err error) {
		if stream, err = client.FetchX509SVID(ctx, &workload.X509SVIDRequest{}); err != nil {
			return err
		}
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		first, err = x509.ParseCertificate(resp.Svids[0].X509Svid)
		return err
	})
	if next := leafOf(t, stream); next.Equal(first) || !time.Now().Before(first.NotAfter) {
		t.Errorf("it was renewed %v before its end", time.Until(first.NotAfter))
	}
}
