package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"koguma/certs"
)

// cmdProvidedCA writes a Mesh whose CA is in the secrets ca-cert and ca-key, and those after it: provided-ca [-nokey] MESH FILE.
func cmdProvidedCA(ts *testscript.TestScript, neg bool, args []string) {
	withKey := true
	if len(args) > 0 && args[0] == "-nokey" {
		withKey, args = false, args[1:]
	}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: provided-ca [-nokey] MESH FILE")
	}
	ca, err := certs.NewCA(certs.CAOptions{CommonName: "given", Life: 48 * time.Hour})
	ts.Check(err)
	key, err := ca.KeyPEM()
	ts.Check(err)
	text := fmt.Sprintf("type: Mesh\nname: %s\nmtls:\n  enabledBackend: given\n  backends:\n  - name: given\n    type: provided\n"+
		"    conf: {cert: {secret: ca-cert}, key: {secret: ca-key}}\n", args[0])
	secret := func(name string, data []byte) {
		text += fmt.Sprintf("---\ntype: Secret\nmesh: %s\nname: %s\ndata: %s\n", args[0], name, base64.StdEncoding.EncodeToString(data))
	}
	secret("ca-cert", ca.CertPEM())
	if withKey {
		secret("ca-key", key)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}
