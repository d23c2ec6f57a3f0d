package cp

import (
	"strings"

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
		return parameter("name", "the control plane makes and uses GlobalSecrets with such names itself; choose another name")
	}
	return nil
}
