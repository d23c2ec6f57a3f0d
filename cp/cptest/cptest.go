// Package cptest has what tests of several rooms of the control plane need: keys, resources, a log that can be read,
// and what answers of the API are held against.
package cptest

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"

	"koguma/policy"
	"koguma/token"
)

var signingKey = sync.OnceValue(func() []byte {
	pem, err := token.NewKeyPEM()
	if err != nil {
		panic(err)
	}
	return pem
})

// SigningKey is a key for all tests of a package, in PEM: to make one takes long.
func SigningKey() []byte { return signingKey() }

// NewKey is a signing key that nobody else has, in PEM.
func NewKey(t *testing.T) []byte {
	t.Helper()
	pem, err := token.NewKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return pem
}

// KeyName is the name of a signing key of the mesh "default".
func KeyName(serial any) string { return fmt.Sprintf("dataplane-token-signing-key-default-%v", serial) }

// Mesh is a mesh with nothing but a name.
func Mesh(name string) *policy.Mesh {
	return &policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: name}}
}

// Secret is a secret of the mesh "default".
func Secret(name string, data []byte) *policy.Secret {
	return &policy.Secret{Meta: policy.Meta{Type: policy.TypeSecret, Mesh: "default", Name: name}, Data: data}
}

// SecretJSON is that as one sends it.
func SecretJSON(name string, data []byte) string {
	return fmt.Sprintf(`{"type":"Secret","mesh":"default","name":%q,"data":%q}`, name, base64.StdEncoding.EncodeToString(data))
}

// Permission is a TrafficPermission "p", by which web may call backend.
const Permission = `{"type":"TrafficPermission","mesh":"default","name":"p","sources":[{"match":{"kuma.io/service":"web"}}],"destinations":[{"match":{"kuma.io/service":"backend"}}]}`

// TagEdict is a MeshTrafficPermission for the inbounds of a service ("" is all) that lets in services and denies tags.
func TagEdict(name, to string, allowed, denied int) string {
	var from []string
	for i := range allowed {
		from = append(from, fmt.Sprintf(`{"targetRef":{"kind":"MeshService","name":"s%d"},"default":{"action":"Allow"}}`, i))
	}
	for i := range denied {
		from = append(from, fmt.Sprintf(`{"targetRef":{"kind":"MeshSubset","tags":{"k":"v%d"}},"default":{"action":"Deny"}}`, i))
	}
	target := `{"kind":"Mesh"}`
	if to != "" {
		target = fmt.Sprintf(`{"kind":"MeshService","name":%q}`, to)
	}
	return fmt.Sprintf(`{"type":"MeshTrafficPermission","mesh":"default","name":%q,"spec":{"targetRef":%s,"from":[%s]}}`,
		name, target, strings.Join(from, ","))
}
