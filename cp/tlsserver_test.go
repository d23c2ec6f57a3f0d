package cp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"koguma/certs"
	"koguma/cp"
	"koguma/cp/settings"
)

// Who shows a certificate of an administrator is one, with a line in the audit log that says by which; who shows another
// one does not get in; who shows none may read what is no secret.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	server := newPair(t, nil, "localhost", x509.ExtKeyUsageServerAuth)
	own := newPair(t, nil, "alice", x509.ExtKeyUsageClientAuth)
	ca, other := newClientCA(t, "ca"), newClientCA(t, "ca")
	f := newFolder(t, server)
	f.write("clients/alice.pem", own.certPEM())
	f.write("clients/ca.crt", ca.certPEM())
	f.write("clients/README", "not looked at")
	p := boot(t, f.https)
	for _, c := range []struct {
		name   string
		client *tlsPair
		read   int
		write  int
		why    string
	}{
		{"none", nil, 200, 403, ""},
		{"self-signed", own, 200, 201, ""},
		{"by the CA", newPair(t, ca, "bob", x509.ExtKeyUsageClientAuth), 200, 200, ""},
		{"by another CA of the same name", newPair(t, other, "bob", x509.ExtKeyUsageClientAuth), 0, 0, "tls: "},
		{"self-signed by another of the same name", newPair(t, nil, "alice", x509.ExtKeyUsageClientAuth), 0, 0, "tls: "},
		{"made with the key of a client", newPair(t, own, "mallory", x509.ExtKeyUsageClientAuth), 0, 0, "tls: "},
		{"expired", newPair(t, ca, "bob", x509.ExtKeyUsageClientAuth, expired), 0, 0, "tls: "},
		{"of a server", newPair(t, ca, "bob", x509.ExtKeyUsageServerAuth), 0, 0, "tls: "},
	} {
		client := tlsClient(t, server, c.client)
		if got, why := askTLS(t, client, p.addrs.HTTPS, "GET", "/meshes", ""); got != c.read || !strings.Contains(why, c.why) {
			t.Errorf("%s: GET answers %d, want %d (%s)", c.name, got, c.read, why)
		}
		if got, why := askTLS(t, client, p.addrs.HTTPS, "PUT", "/meshes/m2", `{"type":"Mesh","name":"m2"}`); got != c.write {
			t.Errorf("%s: PUT answers %d, want %d (%s)", c.name, got, c.write, why)
		}
	}
	want := fmt.Sprintf(`object=/meshes/m2 status=201 certificate="CN=alice alice 127.0.0.1" fingerprint=%s outcome=done`, certs.Fingerprint(own.cert))
	for _, say := range []string{want, `level=INFO msg="http: TLS handshake error from 127.0.0.1:`} {
		if log := p.log.String(); !strings.Contains(log, say) {
			t.Errorf("the log has no line with %s:\n%s", say, log)
		}
	}
	client := tlsClient(t, server, own)
	r, err := http.NewRequestWithContext(t.Context(), "DELETE", "https://"+p.addrs.HTTPS.String()+"/meshes/m2", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://evil.example")
	if got := send(t, client, r); got.Status != 403 {
		t.Errorf("a page of another site, in the browser of an administrator: %d %s", got.Status, got.Body)
	}
}

// The oldest TLS, and tickets to come back with, are not for us.
func TestTLSVersions(t *testing.T) {
	t.Parallel()
	server := newPair(t, nil, "localhost", x509.ExtKeyUsageServerAuth)
	client := newPair(t, nil, "alice", x509.ExtKeyUsageClientAuth)
	f := newFolder(t, server)
	f.write("clients/alice.pem", client.certPEM())
	p := boot(t, f.https)
	for version, want := range map[uint16]int{tls.VersionTLS11: 0, tls.VersionTLS12: 200, tls.VersionTLS13: 200} {
		tickets := tls.NewLRUClientSessionCache(1)
		only := func(c *tls.Config) {
			c.MinVersion, c.MaxVersion, c.ClientSessionCache = version, version, tickets
		}
		c := tlsClient(t, server, client, only)
		if got, why := askTLS(t, c, p.addrs.HTTPS, "GET", "/secrets", ""); got != want {
			t.Errorf("%s: %d, want %d (%s)", tls.VersionName(version), got, want, why)
		}
		if _, ok := tickets.Get("127.0.0.1"); ok {
			t.Errorf("%s: the server gave a ticket", tls.VersionName(version))
		}
	}
	conn, err := tls.Dial("tcp", p.addrs.HTTPS.String(), &tls.Config{
		InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA},
	})
	if err == nil {
		conn.Close()
		t.Error("a cipher suite without AEAD is taken")
	}
}

// Nobody comes in without a certificate where one is required. The admin server for other machines has the whole API,
// and tokens in the old form; where it is, the catalog says.
func TestRequiredClientCertificates(t *testing.T) {
	t.Parallel()
	server := newPair(t, nil, "localhost", x509.ExtKeyUsageServerAuth)
	own := newPair(t, nil, "alice", x509.ExtKeyUsageClientAuth)
	f := newFolder(t, server)
	f.write("clients/alice.pem", own.certPEM())
	ca := newClientCA(t, "ca")
	f.write("clients/ca.crt", ca.certPEM()) // not for the admin server
	f.write("ca-file.pem", ca.certPEM())
	p := boot(t, f.https, f.public, func(c *settings.Config) {
		c.APIServer.HTTPS.RequireClientCert = true
		c.APIServer.HTTPS.TLSCAFile, c.APIServer.Auth.ClientCertsDir = f.file("ca-file.pem"), ""
	})
	byCA := newPair(t, ca, "bob", x509.ExtKeyUsageClientAuth)
	for _, c := range []struct {
		name   string
		addr   net.Addr
		client *tlsPair
		want   int
	}{
		{"API, none", p.addrs.HTTPS, nil, 0},
		{"API, by the CA of the file", p.addrs.HTTPS, byCA, 200},
		{"API, another", p.addrs.HTTPS, own, 0},
		{"admin server, none", p.addrs.AdminPublic, nil, 0},
		{"admin server, own", p.addrs.AdminPublic, own, 200},
		{"admin server, by a CA in a file that is no .pem", p.addrs.AdminPublic, byCA, 0},
	} {
		if got, why := askTLS(t, tlsClient(t, server, c.client), c.addr, "GET", "/secrets", ""); got != c.want {
			t.Errorf("%s: %d, want %d (%s)", c.name, got, c.want, why)
		}
	}
	client := tlsClient(t, server, own)
	for path, want := range map[string]int{"/tokens": 200, "/tokens/dataplane": 200} {
		if got, why := askTLS(t, client, p.addrs.AdminPublic, "POST", path, `{"name":"dp-1","mesh":"default"}`); got != want {
			t.Errorf("POST %s: %d, want %d (%s)", path, got, want, why)
		}
	}
	if url := fmt.Sprintf(`"publicUrl":"https://%s"`, p.addrs.AdminPublic); !strings.Contains(p.rest("GET", "/catalog", ""), url) {
		t.Errorf("the catalog has no %s", url)
	}
	old := tlsClient(t, server, own)
	f.remove("clients/alice.pem")
	p.eventually("nobody to come in who was taken away, also not by a connection that is open", func() bool {
		got, _ := askTLS(t, client, p.addrs.AdminPublic, "GET", "/secrets", "")
		return got == 0
	})
	if got, why := askTLS(t, old, p.addrs.AdminPublic, "GET", "/meshes", ""); got != 0 {
		t.Errorf("a new connection: %d (%s)", got, why)
	}
}

// Certificates, of the server and of clients, are taken up when they change. What is half-written leaves the last good one in
// place, and does not keep others from being taken away.
func TestTLSReload(t *testing.T) {
	t.Parallel()
	first, second := newPair(t, nil, "localhost", x509.ExtKeyUsageServerAuth), newPair(t, nil, "localhost", x509.ExtKeyUsageServerAuth)
	alice, bob := newPair(t, nil, "alice", x509.ExtKeyUsageClientAuth), newPair(t, nil, "bob", x509.ExtKeyUsageClientAuth)
	f := newFolder(t, first)
	f.write("clients/alice.pem", alice.certPEM())
	p := boot(t, f.https)
	admin := func(server, client *tlsPair) bool {
		got, _ := askTLS(t, tlsClient(t, server, client), p.addrs.HTTPS, "GET", "/secrets", "")
		return got == 200
	}
	f.write("clients/bob.pem", bob.certPEM())
	p.eventually("who is new to be let in", func() bool { return admin(first, bob) })

	f.write("cp.pem", second.certPEM())
	p.eventually("the log to have what does not belong together", func() bool { return strings.Contains(p.log.String(), "private key does not match") })
	if !admin(first, bob) {
		t.Error("the last good certificate is not served while the new one is half there")
	}
	f.write("cp.key", second.keyPEM())
	p.eventually("the new certificate to be served", func() bool { return admin(second, bob) })

	f.write("clients/bob.pem", bob.certPEM()[:100])
	p.eventually("the log to have what is broken", func() bool { return strings.Contains(p.log.String(), "bob.pem: PEM block 1 is broken") })
	if !admin(second, bob) {
		t.Error("the last good certificate of a client does not count")
	}
	f.remove("clients/alice.pem")
	p.eventually("who was taken away to be out, beside a broken file", func() bool { return !admin(second, alice) })
	f.remove("clients/bob.pem")
	p.eventually("the last to be out", func() bool { return !admin(second, bob) })
	if n := strings.Count(p.log.String(), "certificates cannot be used"); n != 2 {
		t.Errorf("%d lines about what cannot be used, want one for each fault", n)
	}
	if err := os.RemoveAll(f.file("clients")); err != nil {
		t.Fatal(err)
	}
	p.eventually("the log to have that the folder is gone", func() bool { return strings.Contains(p.log.String(), "clients: no such file") })
}

// A control plane does not start with certificates that cannot be what they are there for, and says which and why.
func TestTLSStartRefusals(t *testing.T) {
	t.Parallel()
	server := newPair(t, nil, "localhost", x509.ExtKeyUsageServerAuth)
	client := newPair(t, nil, "alice", x509.ExtKeyUsageClientAuth)
	for want, spoil := range map[string]func(folder){
		"cp.key: tls: private key does not match": func(f folder) { f.write("cp.key", client.keyPEM()) },
		"cp.pem: the certificate expired at": func(f folder) {
			old := newPair(t, nil, "localhost", x509.ExtKeyUsageServerAuth, expired)
			f.write("cp.pem", old.certPEM())
			f.write("cp.key", old.keyPEM())
		},
		"cp.pem: the certificate is not meant for a server": func(f folder) {
			f.write("cp.pem", client.certPEM())
			f.write("cp.key", client.keyPEM())
		},
		"cp.pem: no such file":                                 func(f folder) { f.remove("cp.pem") },
		"clients has no certificate ([.pem]) in it":            func(f folder) { f.remove("clients/alice.pem") },
		"ca.pem: the certificate expired at":                   func(f folder) { f.write("clients/ca.pem", newClientCA(t, "ca", expired).certPEM()) },
		"alice.pem: PEM block 2 is a \"PRIVATE KEY\"":          func(f folder) { f.write("clients/alice.pem", client.certPEM()+client.keyPEM()) },
		"alice.pem: the certificate is not meant for a client": func(f folder) { f.write("clients/alice.pem", server.certPEM()) },
		"alice.pem: it is empty; PEM was expected":             func(f folder) { f.write("clients/alice.pem", "") },
		"cp.pem with key":                                      func(f folder) { f.write("cp.pem", ""); f.write("cp.key", "") },
		"clients: no such file":                                func(f folder) { f.remove("clients/alice.pem"); f.remove("clients") },
		"sub.pem is not a regular file":                        func(f folder) { f.remove("clients/alice.pem"); mkdir(f.t, f.file("clients/sub.pem")) },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			f := newFolder(t, server)
			f.write("clients/alice.pem", client.certPEM())
			spoil(f)
			cfg := settings.Default()
			cfg.Store.Type = settings.StoreMemory
			cfg.Defaults.SkipMeshCreation = true
			cfg.APIServer.HTTP.Port, cfg.DPServer.Port, cfg.Diagnostics.ServerPort, cfg.AdminServer.Local.Port = 0, 0, 0, 0
			f.public(&cfg)
			c, err := cp.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err = c.Run(ctx)
			if err == nil || !strings.HasPrefix(err.Error(), "adminServer.public: ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want one line with %q", err, want)
			}
		})
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

// Without a pair, the API shows a certificate of the CA that is published for those who dial the DP server.
func TestHTTPSWithoutPair(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := boot(t, func(c *settings.Config) {
		c.APIServer.HTTPS.Enabled, c.APIServer.HTTPS.Interface, c.APIServer.HTTPS.Port = true, "127.0.0.1", 0
		c.Store = settings.StoreConfig{Type: settings.StoreFile, File: settings.FileStoreConfig{Path: filepath.Join(dir, "koguma.db")}}
		c.General.WorkDir = dir
	})
	text, err := os.ReadFile(filepath.Join(dir, "kuma-cp-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := certs.ParseChain(text)
	if err != nil {
		t.Fatal(err)
	}
	if got, why := askTLS(t, tlsClient(t, &tlsPair{cert: chain[0]}, nil), p.addrs.HTTPS, "GET", "/secrets", ""); got != 200 {
		t.Errorf("this machine is an administrator under TLS, too: %d %s", got, why)
	}
}
