package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// maxCommonName is the most that X.509 has room for.
const maxCommonName = 64

// tlsRequest is what a certificate is for.
type tlsRequest struct {
	usage, keyType choice
	hosts          []string
	cpHosts        []string // as Kuma's first versions call those of a server
	keyFile        string
	certFile       string
}

func (c *cli) generateTLSCertificate() *cobra.Command {
	req := &tlsRequest{usage: choice{"", []string{"server", "client"}}, keyType: choice{"rsa", []string{"rsa", "ecdsa"}}}
	cmd := &cobra.Command{
		Use:   "tls-certificate",
		Short: "Generate a certificate for the control plane's API, or for who administers it",
		Long: `Generate a key and a self-signed certificate, which is valid for ten years. No control plane is asked.

One for a server goes into KUMA_ADMIN_SERVER_PUBLIC_TLS_CERT_FILE or KUMA_API_SERVER_HTTPS_TLS_CERT_FILE of kuma-cp, with the
key into ..._TLS_KEY_FILE. One for a client makes whoever has its key an administrator, once the certificate, without the
key, is in the folder that KUMA_ADMIN_SERVER_PUBLIC_CLIENT_CERTS_DIR or KUMA_API_SERVER_AUTH_CLIENT_CERTS_DIR names.

A file that is there already is left alone, and is an error. "-" is standard output.`,
		Example: `  kumactl generate tls-certificate --type=server --cp-hostname=cp.example --cert-file=cp.pem --key-file=cp.key
  kumactl generate tls-certificate --type=client --hostname=alice --cert-file=alice.pem --key-file=alice.key`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return c.saveTLSPair(req) },
	}
	flags := cmd.Flags()
	flags.Var(&req.usage, "type", "whom it is for: "+req.usage.words()+" (required)")
	flags.StringSliceVar(&req.hosts, "hostname", nil, "a DNS name or IP address of the server, or what the audit log is to call the client; may be repeated")
	flags.StringSliceVar(&req.cpHosts, "cp-hostname", nil, "the same as --hostname, for a server")
	flags.Var(&req.keyType, "key-type", "RSA of 2048 bits, or ECDSA on P-256: "+req.keyType.words())
	flags.StringVar(&req.keyFile, "key-file", "key.pem", "where to put the key")
	flags.StringVar(&req.certFile, "cert-file", "cert.pem", "where to put the certificate")
	complete(cmd, "type", req.usage.of...)
	complete(cmd, "key-type", req.keyType.of...)
	complete(cmd, "hostname")
	complete(cmd, "cp-hostname")
	cmd.MarkFlagsMutuallyExclusive("hostname", "cp-hostname")
	require(cmd, "type")
	return cmd
}

// saveTLSPair makes a key and its certificate and writes both, or neither.
func (c *cli) saveTLSPair(req *tlsRequest) error {
	switch server := req.usage.value == "server"; {
	case server && len(req.hosts)+len(req.cpHosts) == 0:
		return errors.New("a server needs a name: give --cp-hostname, the host at which clients reach the control plane")
	case !server && len(req.cpHosts) > 0:
		return errors.New("--cp-hostname is for a server: give --hostname, or no name")
	}
	key, keyPEM, err := newTLSKey(req.keyType.value)
	if err != nil {
		return err
	}
	cert, err := req.certificate(key)
	if err != nil {
		return err
	}
	if err := c.save(req.keyFile, keyPEM, 0o400); err != nil {
		return err
	}
	if err := c.save(req.certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o644); err != nil {
		if req.keyFile != "-" {
			err = errors.Join(err, os.Remove(req.keyFile)) // ours, of just now
		}
		return err
	}
	say := c.stdout
	if req.keyFile == "-" || req.certFile == "-" {
		say = c.stderr
	}
	_, err = fmt.Fprintf(say, "Private key saved in %s\nCertificate saved in %s\nSHA-256 fingerprint %s\n", req.keyFile, req.certFile, fingerprint(cert))
	return err
}

func newTLSKey(kind string) (crypto.Signer, []byte, error) {
	if kind == "ecdsa" {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		der, err := x509.MarshalECPrivateKey(key)
		return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), nil
}

// certificate is self-signed. That of a server is a CA as well, because some clients take nothing else as one to trust;
// that of a client is none, or whoever has it could make administrators.
func (req *tlsRequest) certificate(key crypto.Signer) (*x509.Certificate, error) {
	now, hosts := time.Now(), append(req.hosts, req.cpHosts...)
	template := &x509.Certificate{ // with a serial number drawn by lot
		Subject:               pkix.Name{CommonName: "kumactl"}, // curl refuses a certificate without one
		NotBefore:             now.Add(-5 * time.Minute),
		NotAfter:              now.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if req.usage.value == "server" {
		template.IsCA = true
		template.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageKeyEncipherment
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if len(hosts) > 0 && len(hosts[0]) <= maxCommonName {
		template.Subject.CommonName = hosts[0]
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// save writes a new file with this mode, whatever the umask, or to standard output for "-".
func (c *cli) save(path string, text []byte, mode os.FileMode) error {
	if path == "-" {
		_, err := c.stdout.Write(text)
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already: remove it first, or name another file", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Chmod(mode), f.Close())
}
