package certs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// The longest trust domain and identity that the SPIFFE standard lets one generate.
const (
	maxTrustDomain = 255
	maxID          = 2048
)

// WorkloadID is spiffe://<mesh>/<service>, the identity of a service in a mesh. It refuses names that do not fit into
// one as they stand, and names made of punctuation only.
func WorkloadID(mesh, service string) (spiffeid.ID, error) {
	id, err := workloadID(mesh, service)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("no SPIFFE ID for service %q of mesh %q: %w", service, mesh, err)
	}
	return id, nil
}

func workloadID(mesh, service string) (spiffeid.ID, error) {
	switch {
	case strings.ContainsAny(mesh, ":/"): // TrustDomainFromString would take a whole ID
		return spiffeid.ID{}, errors.New("a mesh name has lower-case letters, digits, '.', '-' and '_' only")
	case len(mesh) > maxTrustDomain:
		return spiffeid.ID{}, fmt.Errorf("the mesh name is longer than %d bytes", maxTrustDomain)
	case strings.Trim(mesh, "._-") == "" || strings.Trim(service, "._-") == "":
		return spiffeid.ID{}, errors.New("a name needs at least one letter or digit")
	}
	domain, err := spiffeid.TrustDomainFromString(mesh)
	if err != nil {
		return spiffeid.ID{}, err
	}
	id, err := spiffeid.FromSegments(domain, service)
	if err == nil && len(id.String()) > maxID {
		err = fmt.Errorf("it would be longer than %d bytes", maxID)
	}
	return id, err
}
