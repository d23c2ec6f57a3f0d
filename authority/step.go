package authority

import (
	"net/url"
	"strings"

	"koguma/certs"
	"koguma/policy"
)

// typeStep is the kind that asks a step-ca.
const typeStep = "step"

// step is the kind that asks a step-ca over HTTPS. The control plane holds the key of one of its JWK provisioners, with which
// it signs a token for each certificate that it asks for.
//
// It signs no revocation lists: a certificate that was withdrawn stays good for new handshakes until it ends.
type step struct{}

type stepConf struct {
	CACert      source `json:"caCert"` // the roots: of the identities, and of the step-ca's own certificate
	Key         source `json:"key"`    // of the provisioner, in PEM or as an unencrypted JWK
	KeyID       string `json:"keyId,omitempty"`
	Provisioner string `json:"provisioner"`
	URL         string `json:"url"`
}

// maxProvisioner is how long the name of a provisioner may be, in bytes.
const maxProvisioner = 256

func readStep(b *policy.Backend) (c stepConf, err error) {
	if err = decodeConf(b, &c); err == nil {
		err = c.CACert.check("conf.caCert")
	}
	if err == nil {
		err = c.Key.check("conf.key")
	}
	if err != nil {
		return c, err
	}
	u, err := url.Parse(c.URL)
	switch {
	case c.Provisioner == "" || len(c.Provisioner) > maxProvisioner:
		return c, invalid("conf.provisioner", "must be the name of a JWK provisioner, in %d bytes or less", maxProvisioner)
	case len(c.KeyID) > maxProvisioner:
		return c, invalid("conf.keyId", "must not be longer than %d bytes", maxProvisioner)
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return c, invalid("conf.url", "must be that of the step-ca, such as https://ca.example.com:9000")
	}
	return c, nil
}

// Check implements [Kind].
func (step) Check(b *policy.Backend) error {
	_, err := readStep(b)
	return err
}

// Make implements [Kind].
func (step) Make(string, *policy.Backend, func(string) bool) (map[string][]byte, error) {
	return nil, nil
}

// Seal implements [Keeper].
func (step) Seal(mesh string, b *policy.Backend) (map[string][]byte, error) {
	conf, err := readStep(b)
	if err != nil {
		return nil, err
	}
	return sealKey(mesh, b, &conf, &conf.Key)
}

// KeySecret implements [Keeper].
func (step) KeySecret(b *policy.Backend) string {
	conf, _ := readStep(b) // what has not passed Check is in no mesh
	return conf.Key.Secret
}

// Open implements [Kind].
func (step) Open(_ string, b *policy.Backend, secret func(name string) []byte) (Authority, error) {
	conf, err := readStep(b)
	if err != nil {
		return nil, err
	}
	r := reader{secret: secret}
	rootsPEM, keyData := r.read("conf.caCert", conf.CACert), r.read("conf.key", conf.Key)
	if r.err != nil {
		return nil, r.err
	}
	roots, err := certs.ParseRoots(rootsPEM)
	if err != nil {
		return nil, invalid("conf.caCert", "%s: %v", conf.CACert.name(), err)
	}
	key, err := parseProvisionerKey(keyData)
	if err != nil {
		return nil, invalid("conf.key", "%s: %v", conf.Key.name(), err)
	}
	if conf.KeyID != "" {
		key.id = conf.KeyID
	}
	return &stepCA{
		files: r.files, url: conf.URL, signURL: strings.TrimSuffix(conf.URL, "/") + "/1.0/sign",
		provisioner: conf.Provisioner, key: key, roots: roots, client: newStepClient(roots), turns: make(chan struct{}, maxTurns),
	}, nil
}
