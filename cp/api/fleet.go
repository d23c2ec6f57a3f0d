package api

import (
	"context"
	"strings"

	"koguma/cp/explain"
	"koguma/policy"
)

// Fleet knows of the proxies of all control planes of the store.
type Fleet interface {
	// Know is what is known that answers the question, at this control plane and the others.
	Know(ctx context.Context, q Question) Knowledge
	// ControlPlanes are those that are not known to be gone, by address.
	ControlPlanes() []policy.ControlPlaneOverview
}

// Question is what one control plane asks another about the proxies of a mesh, or of all.
type Question struct {
	Mesh    string   `json:"mesh,omitempty"`    // "" is all
	Proxies []string `json:"proxies,omitempty"` // the names of their Dataplanes; none is all
	About   Subject  `json:"about"`
	Version uint64   `json:"version,omitempty"` // of the store, about their delivery
}

// Subject is what is asked about proxies.
type Subject string

// What can be asked: each for the method of [Knowledge] that tells it.
const (
	AboutInsight  Subject = "insight"
	AboutIdentity Subject = "identity"
	AboutToken    Subject = "token"
	AboutDelivery Subject = "delivery"
	AboutStanding Subject = "standing"
)

// Knowledge is what a request may want to know of proxies.
type Knowledge struct {
	Watcher
	Courier
	explain.Confidant
	// Silent says which control planes did not answer, and so what is not known; empty if all is.
	Silent []string
}

// warning is what whoever asked should know of what is not known.
func (k *Knowledge) warning() string { return strings.Join(k.Silent, "; ") }
