package testenv_test

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"koguma/certs/certstest"
	"koguma/policy"
	"koguma/testenv"
)

// backendMesh is the mesh "default" with one backend, in JSON, whose certificates live that long.
func backendMesh(typ, conf string, life time.Duration) string {
	return fmt.Sprintf(`{"type":"Mesh","name":"default","mtls":{"enabledBackend":"ca-1","backends":[{"name":"ca-1","type":%q,`+
		`"dpCert":{"rotation":{"expiration":"%v"},"requestTimeout":"3s"},"conf":%s}]}}`, typ, policy.Duration(life), conf)
}

func newCA(t *testing.T, name string, by *testenv.CA) *testenv.CA {
	t.Helper()
	ca, err := testenv.NewCA(name, by)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func keyPEM(t *testing.T, ca *testenv.CA) string {
	t.Helper()
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// serves starts a mesh that works by the certificates of a backend, and judges those.
func serves(t *testing.T, m *testenv.Mesh, roots []*x509.Certificate, sent int) (backend, web *testenv.Sidecar) {
	t.Helper()
	m.Permit("web-to-backend", "web", "backend")
	all := m.Start(testenv.Proxy{Serves: []string{"backend", "backend-admin"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}})
	settles(t, "web's requests", all[1].Out("backend"), allowed)
	for _, service := range []string{"backend", "backend-admin"} {
		chain, err := testenv.ServerChain(t.Context(), all[0].In(service), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := certstest.Verify(t, chain, roots, nil, "spiffe://default/"+service); err != nil || len(chain) != sent {
			t.Errorf("%s presents %d certificates, %v", service, len(chain), err)
		}
	}
	return all[0], all[1]
}

// A mesh works by a CA that the operator gives, from wherever it comes.
func TestProvidedCA(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"inline", "secret", "file"} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			m := testenv.New(t, testenv.Options{})
			ca := newCA(t, "root", nil)
			cert, key := ca.CertPEM(), keyPEM(t, ca)
			var conf string
			switch from {
			case "inline":
				conf = fmt.Sprintf(`{"cert":{"inlineString":%q},"key":{"inlineString":%q}}`, cert, key)
			case "secret":
				for name, data := range map[string]string{"cert": cert, "key": key} {
					m.Apply(fmt.Sprintf("type: Secret\nmesh: default\nname: our-%s\ndata: %s\n", name, base64.StdEncoding.EncodeToString([]byte(data))))
				}
				conf = `{"cert":{"secret":"our-cert"},"key":{"secret":"our-key"}}`
			case "file":
				conf = fmt.Sprintf(`{"cert":{"file":%q},"key":{"file":%q}}`, m.File(cert), m.File(key))
			}
			m.Apply(backendMesh("provided", conf, time.Hour))
			serves(t, m, ca.Roots(), 1)
			if strings.Contains(m.Kumactl("get", "meshes", "-o=yaml")+m.Kumactl("get", "secrets", "-o=yaml")+m.CP.Output(), strings.Split(key, "\n")[1]) {
				t.Error("the CA's key is shown")
			}
		})
	}
}

// A CA below others works as a root does, also when a certificate of it is withdrawn: of the CAs above there is no list.
func TestProvidedIntermediate(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{})
	root := newCA(t, "root", nil)
	ca := newCA(t, "issuer", newCA(t, "middle", root))
	m.Apply(backendMesh("provided", fmt.Sprintf(`{"cert":{"inlineString":%q},"key":{"inlineString":%q}}`, ca.CertPEM(), keyPEM(t, ca)), time.Hour))
	_, web := serves(t, m, root.Roots(), 3)
	bad := m.Start(testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}, Name: "web-2"})[0]
	settles(t, "the other one's requests", bad.Out("backend"), allowed)
	revoke(t, m, bad.Token)
	eventually(t, 10*time.Second, "the revoked one to be refused", func() error {
		if got := httpAnswer(t.Context(), bad.Out("backend")); got == allowed {
			return fmt.Errorf("it gets %s", got)
		}
		return nil
	})
	settles(t, "web's requests after that", web.Out("backend"), allowed)
}

// startStepCA starts a step-ca, which ends with the test, after the mesh.
func startStepCA(t *testing.T) *testenv.StepCA {
	t.Helper()
	dir, err := os.MkdirTemp("", "step-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := testenv.NewStepCA(dir)
	if err == nil {
		err = s.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Log(s.Tail(20))
		}
	})
	return s
}

func stepConf(t *testing.T, s *testenv.StepCA) string {
	t.Helper()
	conf, err := s.Conf()
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

// A mesh works by a step-ca, with agents and without.
func TestStepCA(t *testing.T) {
	t.Parallel()
	ca := startStepCA(t)
	m := testenv.New(t, testenv.Options{})
	m.Apply(backendMesh("step", stepConf(t, ca), time.Hour))
	backend, _ := serves(t, m, ca.Issuer.Roots(), 2)
	chain, err := testenv.ServerChain(t.Context(), backend.In("backend"), "")
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(chain[0].NotAfter); left > time.Hour || left < 58*time.Minute {
		t.Errorf("valid for %v more, want an hour", left)
	}
	bare := dialer{serverName: "web.backend.default", cert: m.Identity("default", "web")}
	if got := bare.httpAnswer(t.Context(), backend.In("backend")); got != allowed {
		t.Errorf("an Envoy without an agent gets %s", got)
	}
	if strings.Contains(m.Kumactl("get", "meshes", "-o=yaml")+m.CP.Output(), strings.Split(keyPEM(t, ca.Key), "\n")[1]) {
		t.Error("the provisioner's key is shown")
	}
}

// rejection is what kumactl shows to be wrong with a proxy.
func rejection(m *testenv.Mesh) string { return m.Kumactl("inspect", "dataplanes", "-o=json") }

// A step-ca that stalls or is away costs new certificates and nothing else: traffic goes on, changes arrive, the reason is
// shown. When it is back, all is well by itself.
func TestStepCAAway(t *testing.T) {
	t.Parallel()
	ca := startStepCA(t)
	m := testenv.New(t, testenv.Options{})
	// Renewed after 48 to 60 seconds: until the end, a slow machine has time to see both reasons and for the CA to come back.
	m.Apply(backendMesh("step", stepConf(t, ca), 80*time.Second))
	backend, web := serves(t, m, ca.Issuer.Roots(), 2)
	load := testenv.StartLoad(t.Context(), web.Out("backend"), 100)
	first := serial(t, web.In("web"))
	shown := func(want string) {
		t.Helper()
		eventually(t, 75*time.Second, "the reason to be shown", func() error {
			if got := rejection(m); !strings.Contains(got, want) {
				return fmt.Errorf("it is %s", got)
			}
			return nil
		})
		eventually(t, 2*time.Second, "the log to say so", func() error {
			if !strings.Contains(m.CP.Output(), want) {
				return fmt.Errorf("there is no %q", want)
			}
			return nil
		})
	}
	if err := ca.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	shown("the CA did not answer within 3s")
	m.Permit("web-to-backend", "web other", "backend") // reaches the proxies all the same
	eventually(t, 5*time.Second, "the change to arrive", func() error {
		dump, err := backend.Admin(t.Context(), "/config_dump")
		if err == nil && !strings.Contains(dump, "spiffe://default/other") {
			err = fmt.Errorf("it is not there")
		}
		return err
	})
	ca.Kill()
	shown("it cannot be reached")
	if now := serial(t, web.In("web")); now != first {
		t.Errorf("the certificate is %s, and was %s", now, first)
	}
	if err := ca.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "a new certificate", func() error {
		if serial(t, web.In("web")) == first || strings.Contains(rejection(m), "step-ca") {
			return fmt.Errorf("%s", rejection(m))
		}
		return nil
	})
	noneLost(t, load, 1000)
}
