package store

// The bounds of a store, for who lists them.
const (
	MaxKey  = maxKey // bytes of mesh and name together
	Timeout = deadline
)
