package store

// NewMemory returns an empty store that is gone with the process.
func NewMemory() Store { return newCore() }
