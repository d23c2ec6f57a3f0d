package testenv_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rogpeppe/go-internal/txtar"

	"koguma/testenv"
)

// kuma is what somebody brings along who comes from Kuma: a key, that signs tokens or is a CA's.
type kuma struct {
	t   *testing.T
	key *rsa.PrivateKey
}

func newKuma(t *testing.T) *kuma {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &kuma{t, key}
}

// keyData is what a Secret has of the key.
func (k *kuma) keyData() string {
	return pemData("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.key))
}

// caData is what a Secret has of a CA with the key, as Kuma makes it for the mesh default.
func (k *kuma) caData() string {
	k.t.Helper()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(0), Subject: pkix.Name{Organization: []string{"Kuma"}, OrganizationalUnit: []string{"Mesh"}, CommonName: "default"},
		URIs: []*url.URL{{Scheme: "spiffe", Host: "default"}}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true, NotBefore: time.Now().Add(-10 * time.Second), NotAfter: time.Now().AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, k.key.Public(), k.key)
	if err != nil {
		k.t.Fatal(err)
	}
	return pemData("CERTIFICATE", der)
}

func pemData(what string, der []byte) string {
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: what, Bytes: der}))
}

// token is a data plane token as Kuma signs it, with all its claims.
func (k *kuma) token(name, service string) string {
	k.t.Helper()
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"Name": name, "Mesh": "default", "Tags": map[string][]string{"kuma.io/service": {service}}, "Type": "", "Workload": "",
		"iat": now.Unix() - 5, "nbf": now.Unix() - 5, "exp": now.Add(time.Hour).Unix(), "jti": "0e120ec9-6b42-495d-9758-07b59fe86fb9",
	})
	token.Header["kid"] = "1"
	text, err := token.SignedString(k.key)
	if err != nil {
		k.t.Fatal(err)
	}
	return text
}

// files are those of testdata/kuma.txtar, by name, with the key and the CA in them.
func (k *kuma) files() map[string]string {
	k.t.Helper()
	archive, err := txtar.ParseFile("testdata/kuma.txtar")
	if err != nil {
		k.t.Fatal(err)
	}
	fill := strings.NewReplacer("$KEY", k.keyData(), "$CA", k.caData())
	files := map[string]string{}
	for _, f := range archive.Files {
		files[f.Name] = fill.Replace(string(f.Data))
	}
	return files
}

// The steps by which a mesh moves, with its keys and its CA.
func TestMigration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := newKuma(t)
	files := k.files()
	for name, text := range map[string]string{"kuma.yaml": files["kuma.yaml"], "web.yaml": files["web.yaml"], "web.token": k.token("web-1", "web")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	follow(t, dir, testenv.Blocks(document(t, "doc/migration.md")))
}

// Each row of the tables says what becomes of a command, a setting or a resource.
func TestMigrationTables(t *testing.T) {
	t.Parallel()
	blocks := []testenv.Block{{Commands: "kuma-cp run >kuma-cp.log 2>&1 &\ncurl -fs --retry 9 --retry-connrefused localhost:5680/ready\n"}}
	rows := kumaRows(t, document(t, "doc/migration.md"))
	resources := newKuma(t).files()
	delete(resources, "kuma.yaml")
	delete(resources, "web.yaml")
	for _, r := range rows {
		blocks = append(blocks, testenv.Block{Commands: "code=0\n{ " + r.command(resources) + "\n} || code=$?\necho exit code $code\n"})
		delete(resources, r.what)
	}
	if len(resources) > 0 || len(rows) < 100 {
		t.Errorf("%d rows, and none for %q", len(rows), slices.Sorted(maps.Keys(resources)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	printed, err := testenv.Session(ctx, t.TempDir(), blocks)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		out := printed[i+1]
		taken := strings.HasSuffix(out, "exit code 0\n") || strings.Contains(r.what, "kuma-dp run") && strings.Contains(out, "/none: ")
		if taken != (r.here == "as is") || !strings.Contains(out, r.says) || r.here == "refused" && r.says == "" {
			t.Errorf("%s is to be %s, %q:\n%s", r.what, r.here, r.says, out)
		}
	}
}

// kumaRow is one line of a table: what somebody brings from Kuma, and what becomes of it.
type kumaRow struct{ what, here, says string }

// command shows what becomes of it. What is neither a command nor a setting is a resource.
func (r kumaRow) command(resources map[string]string) string {
	switch code := strings.Trim(r.what, "`"); {
	case resources[r.what] != "" || !strings.HasPrefix(r.what, "`"):
		return "kumactl apply -f - <<'EOF'\n" + resources[r.what] + "EOF\n"
	case strings.HasPrefix(code, "KUMA_"):
		return code + " kuma-cp config"
	case strings.HasPrefix(code, "kuma-dp run"):
		return code + " --binary-path=/none" // so it gets as far as that
	default:
		return code
	}
}

// kumaRows are the rows of all tables that say what is as is and what is refused.
func kumaRows(t *testing.T, text string) []kumaRow {
	t.Helper()
	var rows []kumaRow
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || strings.TrimSpace(cells[1]) == "here" || strings.HasPrefix(line, "|---") {
			continue
		}
		r := kumaRow{strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1]), strings.Trim(cells[2], " `")}
		if r.here != "as is" && r.here != "refused" {
			t.Errorf("%q is neither taken nor refused", line)
		}
		rows = append(rows, r)
	}
	return rows
}
