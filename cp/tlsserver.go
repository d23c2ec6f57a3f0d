package cp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"koguma/certs"
	"koguma/token"
)

// maxTLSFile is as long as a file with certificates or a key may be, in bytes.
const maxTLSFile = 128 << 10

// tlsConf says what a TLS server shows, and whom it takes for an administrator.
type tlsConf struct {
	section           string // of the configuration, for those who read messages
	certFile, keyFile string // "" is the control plane's own certificate
	clientDir         string // "" is none
	suffixes          []string
	clientFile        string // "" is none
	required          bool   // nobody comes in without a client certificate
}

// tlsFiles is the files of one TLS server. What changes in them is taken up without a restart; a file that cannot be used
// leaves what it was before in place, and one that is gone from the folder of clients is gone. It belongs to one goroutine at
// a time: that of newTLSFiles, then that of run; the server uses config only.
type tlsFiles struct {
	conf    tlsConf
	own     *serverCert
	metrics *metrics
	log     *slog.Logger

	config  atomic.Pointer[tls.Config] // made anew with each change, so that nothing is kept of one before
	pair    *tls.Certificate           // nil while own is shown
	pairPEM [2][]byte                  // what pair was read from
	clients map[string]clientFile      // by path
	fault   string                     // why files could not be used last; "" where they could
}

// clientFile is the certificates in one file.
type clientFile struct {
	pem   []byte
	certs []*x509.Certificate
}

// newTLSFiles reads the files. The first that cannot be used is the error.
func newTLSFiles(conf tlsConf, own *serverCert, m *metrics, log *slog.Logger) (*tlsFiles, error) {
	t := &tlsFiles{conf: conf, own: own, metrics: m, log: log}
	for _, result := range []string{"ok", "failed"} {
		m.tlsReloads.WithLabelValues(conf.section, result) // from 0 on, so that the first failure is seen as one
	}
	if _, err := t.load(); err != nil {
		return nil, fmt.Errorf("%s: %w", conf.section, err)
	}
	if conf.required && len(t.clients) == 0 {
		return nil, fmt.Errorf("%s: %s has no certificate (%v) in it, so nobody could come in; "+
			"make one with kumactl generate tls-certificate --type=client, and put it there without its key", conf.section, conf.clientDir, conf.suffixes)
	}
	return t, nil
}

// run takes up what changes in the files until the context ends.
func (t *tlsFiles) run(ctx context.Context) error {
	folders := map[string]bool{}
	for _, file := range []string{t.conf.certFile, t.conf.keyFile, t.conf.clientFile} {
		if file != "" {
			folders[filepath.Dir(file)] = true
		}
	}
	if t.conf.clientDir != "" {
		folders[t.conf.clientDir] = true
	}
	if len(folders) == 0 {
		return nil
	}
	return watch(ctx, slices.Sorted(maps.Keys(folders)), t.log, t.look)
}

// look takes up what has changed, and tells of what went wrong once.
func (t *tlsFiles) look() {
	changed, err := t.load()
	if changed {
		t.metrics.tlsReloads.WithLabelValues(t.conf.section, "ok").Inc()
		t.log.Info("the certificates of a server were read again", "server", t.conf.section,
			"fingerprint", t.fingerprint(), "client_files", len(t.clients))
	}
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	if fault != "" && fault != t.fault {
		t.metrics.tlsReloads.WithLabelValues(t.conf.section, "failed").Inc()
		t.log.Error("certificates cannot be used; the last good ones go on", "server", t.conf.section, "error", err)
	}
	t.fault = fault
}

// load reads what has changed, and serves with it from now on. The error is the first file that cannot be used.
func (t *tlsFiles) load() (changed bool, err error) {
	newPair, pairErr := t.loadPair()
	newClients, clientsErr := t.loadClients()
	changed = newPair || newClients
	if changed || t.config.Load() == nil {
		t.config.Store(t.newConfig())
	}
	return changed, cmp.Or(pairErr, clientsErr)
}

func (t *tlsFiles) newConfig() *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		SessionTicketsDisabled: true, // each connection is judged by the certificates of its own time
		NextProtos:             []string{"http/1.1"},
		ClientCAs:              x509.NewCertPool(), // never nil, which would be the CAs of the system
	}
	for _, f := range t.clients {
		for _, cert := range f.certs {
			c.ClientCAs.AddCert(cert)
		}
	}
	switch {
	case t.conf.required:
		c.ClientAuth = tls.RequireAndVerifyClientCert
	case t.conf.clientDir != "" || t.conf.clientFile != "":
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if t.pair == nil {
		c.GetCertificate = t.own.get
	} else {
		c.Certificates = []tls.Certificate{*t.pair}
	}
	return c
}

// listener has the connections of l speak TLS.
func (t *tlsFiles) listener(l net.Listener) net.Listener {
	return tls.NewListener(l, &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.config.Load(), nil },
	})
}

// fingerprint is that of the certificate to show, "" if there is none.
func (t *tlsFiles) fingerprint() string {
	pair, err := t.pair, error(nil)
	if pair == nil {
		pair, err = t.own.get(nil)
	}
	if err != nil {
		return ""
	}
	return certs.Fingerprint(pair.Leaf)
}

// handler ends connections whose client certificate has come to its end, or has been taken away, since they came about.
// The client finds out why when it comes again.
func (t *tlsFiles) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if shown := r.TLS.PeerCertificates; len(shown) > 0 {
			above := x509.NewCertPool()
			for _, c := range shown[1:] {
				above.AddCert(c)
			}
			_, err := shown[0].Verify(x509.VerifyOptions{
				Roots: t.config.Load().ClientCAs, Intermediates: above, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			})
			if err != nil {
				t.log.Info("a client certificate does not count any more", "server", t.conf.section, "peer", r.RemoteAddr,
					"fingerprint", certs.Fingerprint(shown[0]), "error", err)
				panic(http.ErrAbortHandler)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// loadPair reads the server's own certificate and key, if one of the files has changed.
func (t *tlsFiles) loadPair() (changed bool, err error) {
	if t.conf.certFile == "" {
		return false, nil
	}
	var text [2][]byte
	for i, file := range []string{t.conf.certFile, t.conf.keyFile} {
		if text[i], _, err = token.ReadFile(file, maxTLSFile); err != nil {
			return false, err
		}
	}
	if t.pair != nil && bytes.Equal(text[0], t.pairPEM[0]) && bytes.Equal(text[1], t.pairPEM[1]) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(text[0], text[1])
	if err != nil {
		return false, fmt.Errorf("certificate %s with key %s: %w", t.conf.certFile, t.conf.keyFile, err)
	}
	if err := usable(pair.Leaf, x509.ExtKeyUsageServerAuth); err != nil {
		return false, fmt.Errorf("%s: %w", t.conf.certFile, err)
	}
	t.pair, t.pairPEM = &pair, text
	return true, nil
}

// loadClients reads the certificates of clients that have changed.
func (t *tlsFiles) loadClients() (changed bool, err error) {
	paths, err := t.conf.clientPaths()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err // nobody has taken anything away
	}
	found := map[string]clientFile{}
	for _, path := range paths {
		before, known := t.clients[path]
		f, readErr := before.again(path)
		switch {
		case readErr == nil:
			found[path] = f
		case known:
			found[path] = before
		}
		err = cmp.Or(err, readErr)
	}
	same := func(a, b clientFile) bool { return bytes.Equal(a.pem, b.pem) }
	changed = !maps.EqualFunc(found, t.clients, same)
	t.clients = found
	return changed, err
}

// clientPaths are the files that should be there.
func (c *tlsConf) clientPaths() ([]string, error) {
	var paths []string
	if c.clientFile != "" {
		paths = append(paths, c.clientFile)
	}
	if c.clientDir == "" {
		return paths, nil
	}
	entries, err := os.ReadDir(c.clientDir)
	for _, e := range entries {
		if slices.Contains(c.suffixes, filepath.Ext(e.Name())) {
			paths = append(paths, filepath.Join(c.clientDir, e.Name()))
		}
	}
	return paths, err
}

// again is the file as it is now.
func (f clientFile) again(path string) (clientFile, error) {
	text, _, err := token.ReadFile(path, maxTLSFile)
	if err != nil || f.certs != nil && bytes.Equal(text, f.pem) {
		return f, err
	}
	chain, err := certs.ParseChain(text)
	if err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	for _, c := range chain {
		if err := usable(c, x509.ExtKeyUsageClientAuth); err != nil {
			return f, fmt.Errorf("%s: %w", path, err)
		}
	}
	return clientFile{text, chain}, nil
}

// usable reports why a certificate serves nobody now for this.
func usable(c *x509.Certificate, usage x509.ExtKeyUsage) error {
	usages := map[x509.ExtKeyUsage]string{x509.ExtKeyUsageServerAuth: "server", x509.ExtKeyUsageClientAuth: "client"}
	limited := len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0
	switch now := time.Now(); {
	case now.After(c.NotAfter):
		return fmt.Errorf("the certificate expired at %s; make another", c.NotAfter.Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("the certificate is not valid before %s", c.NotBefore.Format(time.RFC3339))
	case limited && !slices.Contains(c.ExtKeyUsage, usage) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny):
		return fmt.Errorf("the certificate is not meant for a %s; make one with kumactl generate tls-certificate --type=%s", usages[usage], usages[usage])
	}
	return nil
}
