package policy

import "time"

// SigningKey is what can be told of a key that signs data plane tokens, as `GET /meshes/{mesh}/signing-keys` lists it.
type SigningKey struct {
	Name         string    `json:"name"`   // of the Secret
	Serial       int       `json:"serial"` // which the tokens name as "kid"
	Signs        bool      `json:"signs"`  // it is the newest; the others only verify
	CreationTime time.Time `json:"creationTime,omitzero"`
}
