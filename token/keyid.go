package token

// KeyID is the id of the key that a token says it was signed with, "" for what is no token. Like [Inspect] it does not look
// whether that is so.
func KeyID(raw Raw) string {
	s, refusal := split(raw)
	if refusal != nil {
		return ""
	}
	kid, refusal := s.readHeader()
	if refusal != nil {
		return ""
	}
	return kid
}
