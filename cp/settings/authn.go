package settings

import (
	"cmp"
	"errors"
	"fmt"

	"koguma/policy"
	"koguma/token"
)

// The ways in which a data plane proxy proves who it is.
const (
	AuthnDPToken = "dpToken" // with a data plane token
	AuthnNone    = "none"    // not at all: it is what it says it is
)

// DPServerAuthnConf says how proxies prove who they are.
type DPServerAuthnConf struct {
	DPProxy DPProxyAuthnConf `json:"dpProxy"`
	// EnableReloadableTokens has no effect: agents always take up a token that was renewed.
	EnableReloadableTokens bool `json:"enableReloadableTokens" env:"KUMA_DP_SERVER_AUTHN_ENABLE_RELOADABLE_TOKENS"`
}

// DPProxyAuthnConf says how data plane proxies prove who they are.
type DPProxyAuthnConf struct {
	// Type is AuthnDPToken or AuthnNone; "" is what the old settings say, AuthnDPToken where they say nothing.
	Type    string      `json:"type" env:"KUMA_DP_SERVER_AUTHN_DP_PROXY_TYPE"`
	DPToken DPTokenConf `json:"dpToken"`
}

// DPTokenConf is for data plane tokens.
type DPTokenConf struct {
	// EnableIssuer has the control plane issue tokens, and make each new mesh its first signing key.
	EnableIssuer bool                 `json:"enableIssuer" env:"KUMA_DP_SERVER_AUTHN_DP_PROXY_DP_TOKEN_ENABLE_ISSUER"`
	Validator    DPTokenValidatorConf `json:"validator"`
}

// DPTokenValidatorConf says which keys tokens are verified with.
type DPTokenValidatorConf struct {
	// UseSecrets takes those in the store.
	UseSecrets bool `json:"useSecrets" env:"KUMA_DP_SERVER_AUTHN_DP_PROXY_DP_TOKEN_VALIDATOR_USE_SECRETS"`
	// PublicKeys go over those in the store. They can be given in the file only.
	PublicKeys []PublicKeyConf `json:"publicKeys"`
}

// PublicKeyConf is one public key, given as it is or as a file.
type PublicKeyConf struct {
	KID     string `json:"kid"`
	Mesh    string `json:"mesh"`    // "" is every mesh that has no key of this id of its own
	Key     string `json:"key"`     // PEM
	KeyFile string `json:"keyFile"` // PEM; a change is taken up
}

// DPServerAuthConf is what DPServerAuthnConf was called.
type DPServerAuthConf struct {
	Type                   string `json:"type" env:"KUMA_DP_SERVER_AUTH_TYPE"`
	EnableReloadableTokens bool   `json:"enableReloadableTokens" env:"KUMA_DP_SERVER_AUTH_ENABLE_RELOADABLE_TOKENS"`
	UseTokenPath           bool   `json:"useTokenPath" env:"KUMA_DP_SERVER_AUTH_USE_TOKEN_PATH"`
}

// AdminServerConfig is for the server that older clients get tokens and secrets from.
type AdminServerConfig struct {
	APIs   AdminAPIsConfig   `json:"apis"`
	Local  AdminLocalConfig  `json:"local"`
	Public AdminPublicConfig `json:"public"`
}

// AdminAPIsConfig says what the admin server is for.
type AdminAPIsConfig struct {
	DataplaneToken DataplaneTokenAPIConfig `json:"dataplaneToken"`
}

// DataplaneTokenAPIConfig is for data plane tokens.
type DataplaneTokenAPIConfig struct {
	// Enabled false is the oldest way to say AuthnNone; no tokens are issued then.
	Enabled bool `json:"enabled" env:"KUMA_ADMIN_SERVER_APIS_DATAPLANE_TOKEN_ENABLED"`
}

// AdminLocalConfig is for the admin server on this machine: loopback, plain HTTP.
type AdminLocalConfig struct {
	Port int `json:"port" env:"KUMA_ADMIN_SERVER_LOCAL_PORT"`
}

// The settings that say how proxies prove who they are, as errors and warnings name them.
const (
	keyAuthnType    = "dpServer.authn.dpProxy.type"
	keyAuthType     = "dpServer.auth.type"
	keyTokenEnabled = "adminServer.apis.dataplaneToken.enabled"
	keyDPToken      = "dpServer.authn.dpProxy.dpToken"
	KeyPublicKeys   = keyDPToken + ".validator.publicKeys"
)

// AuthnType is how data plane proxies prove who they are, by whichever setting says so.
func (c *Config) AuthnType() string {
	oldest := ""
	if !c.AdminServer.APIs.DataplaneToken.Enabled {
		oldest = AuthnNone
	}
	return cmp.Or(c.DPServer.Authn.DPProxy.Type, c.DPServer.Auth.Type, oldest, AuthnDPToken)
}

// Issues reports whether tokens are issued, and if not, names the setting that says so. Without authentication they
// still are: whoever wants to turn it on gives out the tokens first.
func (c *Config) Issues() (bool, string) {
	switch {
	case !c.DPServer.Authn.DPProxy.DPToken.EnableIssuer:
		return false, keyDPToken + ".enableIssuer"
	case !c.AdminServer.APIs.DataplaneToken.Enabled:
		return false, keyTokenEnabled
	}
	return true, ""
}

// authnWarnings are what somebody who says this may not have meant. They are fit for anybody.
func (c *Config) authnWarnings() []string {
	if c.AuthnType() == AuthnNone {
		return []string{"authentication is off: any proxy that reaches the DP server can be any service of any mesh; " +
			"set " + keyAuthnType + " to " + AuthnDPToken}
	}
	t := c.DPServer.Authn.DPProxy.DPToken
	issues, _ := c.Issues()
	switch {
	case t.Validator.UseSecrets:
	case len(t.Validator.PublicKeys) == 0:
		return []string{keyDPToken + ".validator: there are no keys, so no proxy can come in; set useSecrets to true, or give publicKeys"}
	case issues:
		return []string{WarnUnusable}
	}
	return nil
}

// WarnUnusable is for those who make tokens, and for those who get them.
const WarnUnusable = "tokens that this control plane issues are refused by it, because " + keyDPToken +
	".validator.useSecrets is false; make them with kumactl generate dataplane-token --signing-key-path"

// validateAuthn reports the first setting about authentication that cannot be obeyed.
func (c *Config) validateAuthn() error {
	says := map[string]string{keyAuthnType: c.DPServer.Authn.DPProxy.Type, keyAuthType: c.DPServer.Auth.Type}
	for _, key := range []string{keyAuthnType, keyAuthType} {
		switch says[key] {
		case "", AuthnDPToken, AuthnNone:
		default:
			return fmt.Errorf("%s: %q is not known; use %s or %s", key, says[key], AuthnDPToken, AuthnNone)
		}
	}
	one, other := says[keyAuthnType], says[keyAuthType]
	if one != "" && other != "" && one != other {
		return fmt.Errorf("%s is %s, and its old name %s says %s; leave the old one out", keyAuthnType, one, keyAuthType, other)
	}
	if !c.AdminServer.APIs.DataplaneToken.Enabled {
		for _, key := range []string{keyAuthnType, keyAuthType} {
			if says[key] == AuthnDPToken {
				return fmt.Errorf("%s is %s, and %s is false, which turns authentication off; leave out one of them", key, AuthnDPToken, keyTokenEnabled)
			}
		}
	}
	return validatePublicKeys(c.DPServer.Authn.DPProxy.DPToken.Validator.PublicKeys)
}

// validatePublicKeys looks at all but the files.
func validatePublicKeys(keys []PublicKeyConf) error {
	type id struct{ mesh, kid string }
	seen := map[id]int{}
	for i, k := range keys {
		if field, err := k.validate(); err != nil {
			return fmt.Errorf("%s[%d].%s: %w", KeyPublicKeys, i, field, err)
		}
		if first, ok := seen[id{k.Mesh, k.KID}]; ok {
			return fmt.Errorf("%s[%d].kid: %s[%d] has the same kid %q for the same mesh; leave one out", KeyPublicKeys, i, KeyPublicKeys, first, k.KID)
		}
		seen[id{k.Mesh, k.KID}] = i
	}
	return nil
}

// validate reports what is wrong, and with which field.
func (k PublicKeyConf) validate() (field string, err error) {
	if err := token.ValidKeyID(k.KID); err != nil {
		return "kid", err
	}
	if k.Mesh != "" {
		if err := policy.ValidMeshName(k.Mesh); err != nil {
			return "mesh", err
		}
	}
	switch {
	case k.Key == "" && k.KeyFile == "":
		return "key", errors.New("missing; give the PEM of the public key here, or its file as keyFile")
	case k.Key != "" && k.KeyFile != "":
		return "key", errors.New("there is a keyFile as well; give one of them")
	case k.Key != "":
		_, err := token.ParsePublicKey([]byte(k.Key))
		return "key", err
	}
	return "", nil
}
