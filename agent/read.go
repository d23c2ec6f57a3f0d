package agent

import (
	"errors"
	"fmt"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"koguma/xds"
)

// content is what was in a response.
type content struct {
	resources []*xds.Resource
	endpoints []string            // the names of the endpoints that the clusters need
	notes     map[string]xds.Note // by the name of the listener of an inbound, or of the cluster of a service
	renewed   bool                // there is a new certificate
}

// read takes a response apart. Everything in it must be of its type and have a name of its own.
func (a *Agent) read(r *discoveryv3.DiscoveryResponse) (content, error) {
	var (
		c       = content{notes: map[string]xds.Note{}}
		secrets []*tlsv3.Secret

		listeners []*listenerv3.Listener
		clusters  []*clusterv3.Cluster
		seen      = map[string]bool{}
	)
	for _, packed := range r.GetResources() {
		m, name, err := unpack(r.GetTypeUrl(), packed)
		switch {
		case err != nil:
			return content{}, err
		case name == "":
			return content{}, errors.New("a resource without a name")
		case seen[name]:
			return content{}, fmt.Errorf("resource %q twice in one response", name)
		}
		seen[name] = true
		switch m := m.(type) {
		case *tlsv3.Secret:
			if err := a.ratchet.secret(m); err != nil {
				return content{}, err
			}
			secrets = append(secrets, m)
			continue
		case *clusterv3.Cluster:
			note := xds.TakeClusterNote(m)
			r, err := resource(m)
			if err != nil {
				return content{}, err
			}
			c.endpoints = append(c.endpoints, endpointsOf(m)...)
			c.resources, c.notes[name], clusters = append(c.resources, r), note, append(clusters, m)
			continue
		case *listenerv3.Listener:
			r, note, err := withoutNote(m)
			if err != nil {
				return content{}, err
			}
			c.resources, c.notes[name], listeners = append(c.resources, r), note, append(listeners, m)
			continue
		}
		c.resources = append(c.resources, xds.NewResource(name, packed.GetValue()))
	}
	var err error
	switch r.GetTypeUrl() {
	case xds.TypeSecret:
		c.resources, c.renewed, err = a.identity.join(secrets, time.Now())
	case xds.TypeCluster:
		err = a.ratchet.clusters(clusters, c.notes)
	case xds.TypeListener:
		err = a.ratchet.listeners(listeners, c.notes)
	}
	return c, err
}

// unpack is the message in a resource, and its name.
func unpack(typ string, packed *anypb.Any) (m proto.Message, name string, err error) {
	if packed.GetTypeUrl() != typ {
		return nil, "", fmt.Errorf("a %s in a response of %s", short(packed.GetTypeUrl()), short(typ))
	}
	switch typ {
	case xds.TypeSecret:
		m = new(tlsv3.Secret)
	case xds.TypeCluster:
		m = new(clusterv3.Cluster)
	case xds.TypeListener:
		m = new(listenerv3.Listener)
	case xds.TypeEndpoint:
		m = new(endpointv3.ClusterLoadAssignment)
	}
	if err := proto.Unmarshal(packed.GetValue(), m); err != nil {
		// The library's own words may quote what it could not read.
		return nil, "", fmt.Errorf("a %s that cannot be read", short(typ))
	}
	switch m := m.(type) {
	case *endpointv3.ClusterLoadAssignment:
		name = m.GetClusterName()
	case interface{ GetName() string }:
		name = m.GetName()
	}
	return m, name, nil
}

// withoutNote is a listener as Envoy gets it, and the note that came with it.
func withoutNote(l *listenerv3.Listener) (*xds.Resource, xds.Note, error) {
	note := xds.TakeNote(l)
	r, err := resource(l)
	return r, note, err
}

// endpointsOf is the name of the endpoints that a cluster gets over EDS, if it does.
func endpointsOf(c *clusterv3.Cluster) []string {
	if c.GetType() != clusterv3.Cluster_EDS {
		return nil
	}
	if name := c.GetEdsClusterConfig().GetServiceName(); name != "" {
		return []string{name}
	}
	return []string{c.GetName()}
}

// resource is a message as it goes on to Envoy.
func resource(m interface {
	proto.Message
	GetName() string
}) (*xds.Resource, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return xds.NewResource(m.GetName(), body), nil
}

// short is a type URL as people know it: "Cluster".
func short(typ string) string { return typ[strings.LastIndexByte(typ, '.')+1:] }
