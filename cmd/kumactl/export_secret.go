package main

import (
	"strings"

	"koguma/policy"
)

// whyLeftOut says why a secret is not exported, and what to do about it; "" if it is.
func whyLeftOut(r policy.Resource) string {
	key := r.Metadata().Key()
	hasName := func(prefix string) bool { return strings.HasPrefix(key.Name, prefix) }
	switch s := r.(type) {
	case *policy.GlobalSecret:
		if len(s.Data) == 0 {
			return "it is this control plane's own; another one makes its own"
		}
		return ""
	case *policy.Secret:
		switch {
		case hasName(policy.CACertName(key.Mesh, "")), hasName(policy.CAKeyName(key.Mesh, "")):
			return "another control plane makes a CA of its own for this backend, which trusts no certificate of this one"
		case len(s.Data) > 0:
			return ""
		case hasName(policy.SigningKeyPrefix(key.Mesh)):
			return "keys are not given out; another control plane makes its own, so proxies need new tokens there (kumactl generate dataplane-token), " +
				"or put your copy of the key there"
		case hasName(policy.ProvidedKeyName(key.Mesh, "")):
			return "keys are not given out; in the Mesh, put your copy in the place of conf.key.secret of this backend, as conf.key.inlineString"
		}
	}
	return "keys are not given out; add a Secret of this name with your copy to the file"
}
