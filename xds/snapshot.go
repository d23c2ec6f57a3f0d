package xds

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// Resource is one resource as it goes over the wire. It is not changed once made, and shared by all who have the same.
type Resource struct {
	Name    string
	Version string // of the content
	Body    []byte // the message, marshalled
}

// NewResource is the resource with that name and message, its Version a hash of it.
func NewResource(name string, body []byte) *Resource {
	h := sha256.Sum256(body)
	return &Resource{Name: name, Version: hex.EncodeToString(h[:8]), Body: body}
}

// Set is all resources of one type, sorted by name. It is not changed once made. The nil Set is empty.
type Set struct {
	resources []*Resource
	version   string
}

// NewSet is the set of these resources, which it takes over.
func NewSet(resources ...*Resource) *Set {
	slices.SortFunc(resources, func(a, b *Resource) int { return cmp.Compare(a.Name, b.Name) })
	h := sha256.New()
	for _, r := range resources {
		h.Write([]byte(r.Name))
		h.Write([]byte{0})
		h.Write([]byte(r.Version))
		h.Write([]byte{0})
	}
	return &Set{resources: resources, version: hex.EncodeToString(h.Sum(nil)[:8])}
}

// All are the resources of the set, sorted by name.
func (s *Set) All() []*Resource {
	if s == nil {
		return nil
	}
	return s.resources
}

// Get is the resource with that name, nil if there is none.
func (s *Set) Get(name string) *Resource {
	i, found := slices.BinarySearchFunc(s.All(), name, func(r *Resource, n string) int { return cmp.Compare(r.Name, n) })
	if !found {
		return nil
	}
	return s.resources[i]
}

// Version is a hash of the content of the set.
func (s *Set) Version() string {
	if s == nil {
		return ""
	}
	return s.version
}

// Snapshot is all that one proxy should have. It is not changed once made.
type Snapshot struct {
	Secrets, Clusters, Endpoints, Listeners *Set
}

// Of is the set of resources with that type URL.
func (s *Snapshot) Of(typ string) *Set {
	switch typ {
	case TypeSecret:
		return s.Secrets
	case TypeCluster:
		return s.Clusters
	case TypeEndpoint:
		return s.Endpoints
	case TypeListener:
		return s.Listeners
	}
	return nil
}
