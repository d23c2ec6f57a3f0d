package xds

// The bounds of a stream and of what goes over it, for who lists them.
const (
	FirstRequest = firstRequest
	MaxNames     = maxNames
	MaxChains    = maxChains
)
