package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"koguma/certs"
)

// cmdProvidedCA writes a Mesh whose CA is in the secrets ca-cert and ca-key, and those after it; with -nokey without the one
// with the key, and with -inline all in the Mesh: provided-ca [-nokey|-inline] MESH FILE.
func cmdProvidedCA(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: provided-ca [-nokey|-inline] MESH FILE")
	}
	how, mesh, file := args[0], args[len(args)-2], args[len(args)-1]
	ca, err := certs.NewCA(certs.CAOptions{CommonName: "given", Life: 48 * time.Hour})
	ts.Check(err)
	keyPEM, err := ca.KeyPEM()
	ts.Check(err)
	cert, key := base64.StdEncoding.EncodeToString(ca.CertPEM()), base64.StdEncoding.EncodeToString(keyPEM)
	conf := "{cert: {secret: ca-cert}, key: {secret: ca-key}}"
	if how == "-inline" {
		conf = fmt.Sprintf("{cert: {inline: %s}, key: {inline: %s}}", cert, key)
	}
	text := fmt.Sprintf("type: Mesh\nname: %s\nmtls:\n  enabledBackend: given\n  backends:\n  - name: given\n    type: provided\n    conf: %s\n", mesh, conf)
	if how != "-inline" {
		text += fmt.Sprintf("---\ntype: Secret\nmesh: %s\nname: ca-cert\ndata: %s\n", mesh, cert)
		if how != "-nokey" {
			text += fmt.Sprintf("---\ntype: Secret\nmesh: %s\nname: ca-key\ndata: %s\n", mesh, key)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
}
