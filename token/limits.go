package token

// The bounds of a token, in bytes, for who lists them.
const (
	MaxToken = maxToken
	MaxTags  = maxTags
	MaxID    = maxID
)
