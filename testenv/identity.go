package testenv

import (
	"context"
	"crypto"
	"crypto/tls"
	"fmt"
	"net/url"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	"koguma/certs"
	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// PinnedTLS is how to dial the control plane with nothing but a token.
func PinnedTLS(raw token.Raw) (*tls.Config, error) {
	claims, err := token.Inspect(raw)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		ServerName:         certs.ServerName,
		InsecureSkipVerify: true, // VerifyConnection does it, by the pin
		VerifyConnection:   certs.VerifyPinned(claims.Pin),
	}, nil
}

// Identity is a certificate with its key for a service of a mesh, got in the way of an Envoy without an agent, to which
// the control plane sends a key. The proxy that it is for takes in no traffic and is gone by now.
func (m *Mesh) Identity(mesh, service string) *tls.Certificate {
	m.t.Helper()
	return m.IdentityOf(mesh, map[string]string{policy.TagService: service})
}

// IdentityOf is an [Mesh.Identity] with these tags, one of which is the service.
func (m *Mesh) IdentityOf(mesh string, tags map[string]string) *tls.Certificate {
	m.t.Helper()
	got := m.fetchIdentity(mesh, tags, nil)
	cert, err := tls.X509KeyPair(got.GetCertificateChain().GetInlineBytes(), got.GetPrivateKey().GetInlineBytes())
	if err != nil {
		m.t.Fatal(err)
	}
	return &cert
}

// SignIdentity is a certificate for a key of the caller's, got in the way of an agent, which sends a signing request.
func (m *Mesh) SignIdentity(mesh, service string, key crypto.Signer) *tls.Certificate {
	m.t.Helper()
	csr, err := certs.NewCSR(key)
	if err != nil {
		m.t.Fatal(err)
	}
	got := m.fetchIdentity(mesh, map[string]string{policy.TagService: service}, csr)
	chain, err := certs.ParseChain(got.GetCertificateChain().GetInlineBytes())
	if err != nil {
		m.t.Fatal(err)
	}
	cert := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert
}

func (m *Mesh) fetchIdentity(mesh string, tags map[string]string, csr []byte) *tlsv3.TlsCertificate {
	m.t.Helper()
	service := tags[policy.TagService]
	ctx, cancel := m.ctx()
	defer cancel()
	name := fmt.Sprintf("lone-%d", m.files.Add(1))
	got, err := fetchIdentity(ctx, m.CP.DP, m.Token(mesh, name, service), csr, &policy.Dataplane{
		Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: mesh, Name: name},
		Networking: policy.Networking{
			Address: Loopback(),
			Gateway: &policy.Gateway{Tags: tags},
		},
	})
	if err != nil {
		m.t.Fatalf("identity of %s in mesh %s: %v", service, mesh, err)
	}
	return got
}

func fetchIdentity(ctx context.Context, dp string, raw token.Raw, csr []byte, d *policy.Dataplane) (*tlsv3.TlsCertificate, error) {
	server, err := url.Parse(dp)
	if err != nil {
		return nil, err
	}
	pinned, err := PinnedTLS(raw)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+server.Host, grpc.WithTransportCredentials(credentials.NewTLS(pinned)))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", string(raw))
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	if err != nil {
		return nil, err
	}
	resource, err := policy.Encode(d)
	if err != nil {
		return nil, err
	}
	node := map[string]*structpb.Value{"dataplane.resource": structpb.NewStringValue(string(resource))}
	if csr != nil {
		node["dataplane.csr"] = structpb.NewStringValue(string(csr))
	}
	err = stream.Send(&discoveryv3.DiscoveryRequest{
		TypeUrl:       xds.TypeSecret,
		ResourceNames: []string{xds.IdentitySecretName(d.Mesh, d.Services()[0], true)},
		Node:          &corev3.Node{Id: d.Mesh + "." + d.Name, Metadata: &structpb.Struct{Fields: node}},
	})
	if err != nil {
		return nil, err
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		for _, packed := range resp.Resources {
			var secret tlsv3.Secret
			if err := packed.UnmarshalTo(&secret); err != nil {
				return nil, err
			}
			if got := secret.GetTlsCertificate(); got != nil {
				return got, nil
			}
		}
	}
}
