package token

import "strings"

// FromMetadata takes the token from the values of a request's "authorization" metadata: exactly one value, the token
// itself or "Bearer " and the token. The error is a [Refusal].
func FromMetadata(values []string) (Raw, error) {
	if len(values) == 0 {
		_, refusal := split("")
		return "", refusal
	}
	if len(values) > 1 {
		return "", malformed("the request carries more than one")
	}
	text := strings.TrimPrefix(values[0], "Bearer ")
	if strings.ContainsAny(text, " \t\r\n") {
		return "", malformed(`white space is in it, or something before it other than one "Bearer "`)
	}
	if _, refusal := split(Raw(text)); refusal != nil {
		return "", refusal
	}
	return Raw(text), nil
}
