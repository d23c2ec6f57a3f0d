package certstest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Judge says why others do not take a chain, leaf first, for the X.509-SVID of an identity, or that it has not the form that
// we give to one; nil if all is well.
//
// The key is the leaf's; nil if the test does not have it.
func Judge(tb testing.TB, chain, roots []*x509.Certificate, key crypto.PrivateKey, want string) error {
	tb.Helper()
	return errors.Join(Verify(tb, chain, roots, key, want), form(tb, chain[0], want))
}

// Verify is [Judge] for what others may have signed, in a form of their own. The judges are SPIFFE's own library, and OpenSSL,
// which is asked for a server and for a client.
func Verify(tb testing.TB, chain, roots []*x509.Certificate, key crypto.PrivateKey, want string) error {
	tb.Helper()
	return errors.Join(spiffe(chain, roots, key, want), openSSL(tb, chain, roots))
}

func spiffe(chain, roots []*x509.Certificate, key crypto.PrivateKey, want string) error {
	id, err := spiffeid.FromString(want)
	if err != nil {
		return err
	}
	got, _, err := x509svid.Verify(chain, x509bundle.FromX509Authorities(id.TrustDomain(), roots))
	if err != nil {
		return fmt.Errorf("go-spiffe: %w", err)
	}
	if got != id {
		return fmt.Errorf("go-spiffe reads %s, want %s", got, want)
	}
	if key == nil {
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var raw []byte
	for _, c := range chain {
		raw = append(raw, c.Raw...)
	}
	if _, err := x509svid.ParseRaw(raw, der); err != nil {
		return fmt.Errorf("go-spiffe: %w", err)
	}
	return nil
}

// openSSL asks the command line, which has no trust in a chain but by the roots.
func openSSL(tb testing.TB, chain, roots []*x509.Certificate) error {
	tb.Helper()
	dir := tb.TempDir()
	for name, list := range map[string][]*x509.Certificate{"roots": roots, "leaf": chain[:1], "rest": chain[1:]} {
		if err := os.WriteFile(filepath.Join(dir, name), EncodePEM(list), 0o600); err != nil {
			return err
		}
	}
	for _, purpose := range []string{"sslserver", "sslclient"} {
		args := []string{"verify", "-x509_strict", "-purpose", purpose, "-CAfile", "roots"}
		if len(chain) > 1 {
			args = append(args, "-untrusted", "rest")
		}
		if _, err := run(tb.Context(), dir, append(args, "leaf")...); err != nil {
			return err
		}
	}
	return nil
}

// form asks the command line what it reads in a leaf.
func form(tb testing.TB, leaf *x509.Certificate, want string) error {
	tb.Helper()
	dir := tb.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "leaf"), EncodePEM([]*x509.Certificate{leaf}), 0o600); err != nil {
		return err
	}
	text, err := run(tb.Context(), dir, "x509", "-in", "leaf", "-noout", "-text")
	if err != nil {
		return err
	}
	for _, form := range [][]string{
		{"X509v3 Key Usage: critical", "Digital Signature"},
		{"X509v3 Extended Key Usage: ", "TLS Web Server Authentication, TLS Web Client Authentication"},
		{"X509v3 Basic Constraints: critical", "CA:FALSE"},
		{"X509v3 Subject Alternative Name: critical", "URI:" + want},
	} {
		if err := has(text, form[0], form[1]); err != nil {
			return err
		}
	}
	return nil
}

// has says whether there is an extension with that value. Names may have more than the one that is wanted, after a comma.
func has(text, head, value string) error {
	lines := strings.Split(text, "\n")
	for i, line := range lines[:len(lines)-1] {
		if strings.TrimSpace(line) != strings.TrimSpace(head) {
			continue
		}
		got := strings.TrimSpace(lines[i+1])
		if got == value || strings.HasSuffix(got, ", "+value) && strings.HasPrefix(got, "DNS:") {
			return nil
		}
		return fmt.Errorf("openssl reads %q below %q, want %q", got, head, value)
	}
	return fmt.Errorf("openssl reads no %q", head)
}

func run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "openssl", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("openssl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// EncodePEM is a list of certificates in PEM.
func EncodePEM(list []*x509.Certificate) []byte {
	var text []byte
	for _, c := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}
