package certs

// The bounds of what is read, for who lists them. Sizes are in bytes.
const (
	MaxCSR     = maxCSR
	MaxPEM     = maxPEM
	MaxChain   = maxChain
	MinRSABits = minRSABits
	MaxRSABits = maxRSABits
)
