package policy

// The bounds of what people write, for who lists them. Sizes are in bytes, names in characters.
const (
	MaxDocument = maxDocument
	MaxDepth    = maxDepth
	MaxName     = maxName
	MaxMeshName = maxMeshName
	MaxTag      = maxTag
	MinLeafLife = minLife
	MaxLeafLife = maxLeafLife
)
