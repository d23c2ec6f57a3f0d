package policy

import "time"

// SigningKey is what can be told of a key that signs data plane tokens, as `GET /meshes/{mesh}/signing-keys` lists it.
type SigningKey struct {
	Name         string    `json:"name"`   // of the Secret
	Serial       int       `json:"serial"` // which the tokens name as "kid"
	Signs        bool      `json:"signs"`  // it is the newest; the others only verify
	CreationTime time.Time `json:"creationTime,omitzero"`
}

// TokenUse is what can be told of the token by which a proxy is connected, as `GET /meshes/{mesh}/dataplane-tokens`
// lists it.
type TokenUse struct {
	Mesh      string      `json:"mesh"`
	Proxy     string      `json:"proxy"` // the name of its Dataplane
	ID        string      `json:"jti"`
	KeyID     string      `json:"kid"`
	IssuedAt  time.Time   `json:"iat,omitzero"`
	ExpiresAt time.Time   `json:"exp"`
	Bounds    TokenBounds `json:"bounds"`
	Admitted  bool        `json:"admitted"`         // by what is known now
	Reason    string      `json:"reason,omitempty"` // why it is not
}

// TokenBounds is what a token is for. What is empty binds nothing.
type TokenBounds struct {
	Name string              `json:"name,omitempty"`
	Tags map[string][]string `json:"tags,omitempty"`
	Type string              `json:"type,omitempty"`
}
