package testenv

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"koguma/policy"
)

// provisioner is the name of the one provisioner of a [StepCA].
const provisioner = "koguma"

// StepCA is a step-ca that runs as a process: a root, an intermediate that signs, and a JWK provisioner whose key is Key.
type StepCA struct {
	*Process // the newest one
	URL      string
	Issuer   *CA
	Key      *CA // of which the key counts

	path, dir string
}

// StepCABinary is the path of the real step-ca: $KOGUMA_STEP_CA, or else the one that `make tools` builds.
func StepCABinary() (string, error) {
	return find(cmp.Or(os.Getenv("KOGUMA_STEP_CA"), filepath.Join(".tools", "step", "step-ca")), "make tools")
}

// NewStepCA makes a step-ca whose files are in dir, on a port that the kernel chooses. It does not run yet.
func NewStepCA(dir string) (*StepCA, error) {
	path, err := StepCABinary()
	if err != nil {
		return nil, err
	}
	host := Loopback()
	ports, err := FreePorts(host, 1)
	if err != nil {
		return nil, err
	}
	root, err := NewCA("step root", nil)
	if err != nil {
		return nil, err
	}
	s := &StepCA{path: path, dir: dir}
	if s.Issuer, err = NewCA("step issuer", root); err != nil {
		return nil, err
	}
	if s.Key, err = NewCA(provisioner, nil); err != nil {
		return nil, err
	}
	address := net.JoinHostPort(host, strconv.Itoa(ports[0]))
	s.URL = "https://" + address
	return s, s.configure(host, address)
}

// configure writes what the step-ca reads.
func (s *StepCA) configure(host, address string) error {
	jwk, err := s.publicJWK()
	if err != nil {
		return err
	}
	conf, err := policy.Encode(map[string]any{
		"root": s.file("root.crt"), "crt": s.file("issuer.crt"), "key": s.file("issuer.key"),
		"address": address, "dnsNames": []string{host}, "logger": map[string]string{"format": "text"},
		"authority": map[string]any{"provisioners": []any{map[string]any{
			"type": "JWK", "name": provisioner, "key": jwk,
			"claims": map[string]string{"minTLSCertDuration": "5s", "defaultTLSCertDuration": "1h", "maxTLSCertDuration": "24h"},
		}}},
	})
	if err != nil {
		return err
	}
	key, err := s.Issuer.KeyPEM()
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"root.crt": s.Issuer.RootPEM(), "issuer.crt": s.Issuer.CertPEM(), "issuer.key": key, "ca.json": string(conf),
	} {
		if err := os.WriteFile(s.file(name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *StepCA) file(name string) string { return filepath.Join(s.dir, name) }

// publicJWK is the provisioner's public key, with its thumbprint (RFC 7638) as id.
func (s *StepCA) publicJWK() (map[string]string, error) {
	point, err := s.Key.Key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	x, y := b64(point[1:33]), b64(point[33:])
	print := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, x, y))
	return map[string]string{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "x": x, "y": y, "kid": b64(print[:])}, nil
}

// Start runs the step-ca, again if it was stopped, and returns when it takes connections.
func (s *StepCA) Start(ctx context.Context) error {
	p, err := Start(Command{Name: "step-ca", Path: s.path, Args: []string{s.file("ca.json")}, Env: []string{"STEPPATH=" + s.dir, "HOME=" + s.dir}})
	if err != nil {
		return err
	}
	s.Process = p
	return p.await(ctx, "take connections", func() error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", s.URL[len("https://"):])
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// Conf is a backend's configuration that asks it, as JSON.
func (s *StepCA) Conf() (string, error) {
	key, err := s.Key.KeyPEM()
	if err != nil {
		return "", err
	}
	text := func(s string) map[string]string { return map[string]string{"inlineString": s} }
	conf, err := policy.Encode(map[string]any{
		"url": s.URL, "provisioner": provisioner, "caCert": text(s.Issuer.RootPEM()), "key": text(key),
	})
	return string(conf), err
}
