package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
)

// TLSSecret is the secret with a certificate chain and its private key, both in PEM. From the control plane to the
// agent, which has the key, it carries none.
func TLSSecret(name string, chainPEM, keyPEM []byte) *Resource {
	cert := &tlsv3.TlsCertificate{CertificateChain: inline(chainPEM)}
	if keyPEM != nil {
		cert.PrivateKey = inline(keyPEM)
	}
	return mustResource(name, &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: cert}})
}

// trustSecret is the secret with the roots that identities of the mesh are verified with, and the list of those that
// are not accepted any more.
func trustSecret(v *View) named {
	name := CASecretName(v.Mesh)
	return named{name, func() proto.Message {
		c := &tlsv3.CertificateValidationContext{TrustedCa: inline([]byte(v.Roots))}
		if crl := v.Withdrawn.crl(); crl != "" {
			c.Crl = inline([]byte(crl))
			c.OnlyVerifyLeafCertCrl = true // of the CAs between leaf and root there is no list, and without one Envoy refuses all
		}
		return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{ValidationContext: c}}
	}}
}

// WithSecrets is the snapshot and these secrets beside its own.
func (s *Snapshot) WithSecrets(secrets ...*Resource) *Snapshot {
	if len(secrets) == 0 {
		return s
	}
	all := append([]*Resource{}, s.Secrets.All()...)
	return &Snapshot{
		Secrets: NewSet(append(all, secrets...)...), Clusters: s.Clusters, Endpoints: s.Endpoints, Listeners: s.Listeners,
	}
}

func inline(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}

// mustResource is the resource with a message that cannot fail to marshal: it has no strings that might not be UTF-8
// but its checked name.
func mustResource(name string, m proto.Message) *Resource {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return NewResource(name, body)
}
