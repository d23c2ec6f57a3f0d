package policy

import "time"

// Pending is something that a proxy should have and has not said that it has.
type Pending struct {
	// Type is what it is a part of: secrets, clusters, endpoints, listeners; "" for the configuration as a whole.
	Type   string `json:"type,omitempty"`
	Reason string `json:"reason"`
	// Refusal is with what words the proxy refused it, "" if it did not.
	Refusal string    `json:"refusal,omitempty"`
	Since   time.Time `json:"since"`
}
