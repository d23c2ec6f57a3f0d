package registry

import (
	"strings"

	"koguma/cp/problem"
	"koguma/policy"
)

// ownGlobalSecret reports whether the control planes themselves make the GlobalSecret and act on it: nobody else reads or
// writes it.
func ownGlobalSecret(key policy.Key) bool {
	return strings.HasPrefix(key.Name, "kuma-cp-") || strings.HasPrefix(key.Name, usedSerialName(""))
}

// checkGlobalSecret refuses to write what is the control planes' own.
func checkGlobalSecret(key policy.Key) error {
	if ownGlobalSecret(key) {
		return problem.Parameter("name", "GlobalSecrets with such names are the control plane's own: it makes them itself, and nobody else changes or deletes them")
	}
	return nil
}
