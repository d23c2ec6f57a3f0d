package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
)

// target is a control plane, and what it takes to talk to it.
type target struct {
	apiServer
	name  string    // in the configuration; "" while it is not there
	admin *adminAPI // set: its admin server is talked to, and the API asked only where that is
}

// adminAPI is how an administrator is known to the admin server, and the admin server to the administrator.
type adminAPI struct {
	ClientCert string `json:"clientCert"` // a file
	ClientKey  string `json:"clientKey"`  // a file
	// ServerFingerprint is that of the certificate that the server had when it was added, for servers that no CA vouches for.
	ServerFingerprint string `json:"serverFingerprint,omitempty"`
}

// httpHeader is sent with each request.
type httpHeader struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// check reports what makes no sense together, or would show a credential to somebody unknown.
func (t *target) check() error {
	u, err := parseAddress(t.URL)
	if err != nil {
		return err
	}
	https := u.Scheme == "https"
	switch {
	case (t.ClientCertFile == "") != (t.ClientKeyFile == ""):
		return errors.New("a client certificate and its key go together: give both --client-cert-file and --client-key-file")
	case t.admin != nil && (t.admin.ClientCert == "" || t.admin.ClientKey == ""):
		return errors.New("a client certificate and its key go together: give both --admin-client-cert and --admin-client-key")
	case t.admin != nil && (https || t.ClientCertFile != ""):
		return errors.New("--admin-client-cert is for an address with http://, where the control plane is asked for its admin server: with https:// give --client-cert-file and --client-key-file")
	case !https && t.ClientCertFile != "":
		return errors.New("a client certificate needs an address with https://, such as https://HOST:5682: for the admin server give --admin-client-cert and --admin-client-key")
	case !https && t.admin == nil && (t.CACertFile != "" || t.SkipVerify):
		return errors.New("there is no certificate to verify at an address with http://: leave out --ca-cert-file and --skip-verify, or give the address with https://")
	case t.SkipVerify && t.CACertFile != "":
		return errors.New("--skip-verify does not look at --ca-cert-file: leave out one of them")
	case t.SkipVerify && (t.admin != nil || t.ClientCertFile != "" || len(t.Headers) > 0):
		return errors.New("client certificates and headers are for a server that was verified: give --ca-cert-file in the place of --skip-verify")
	case len(t.Headers) > 0 && !https && !onThisMachine(u):
		return errors.New("headers may hold credentials, and are not sent in the clear: give an address with https://")
	}
	return nil
}

// absolute has the files named so that they are found from anywhere.
func (t *target) absolute() error {
	files := []*string{&t.CACertFile, &t.ClientCertFile, &t.ClientKeyFile}
	if t.admin != nil {
		files = append(files, &t.admin.ClientCert, &t.admin.ClientKey)
	}
	for _, f := range files {
		if *f == "" {
			continue
		}
		path, err := filepath.Abs(*f)
		if err != nil {
			return fmt.Errorf("%s: %w", *f, err)
		}
		*f = path
	}
	return nil
}

// certificate is the file of the certificate that the user is known by, "" if there is none.
func (t *target) certificate() string {
	if t.admin != nil {
		return t.admin.ClientCert
	}
	return t.ClientCertFile
}

// key is the file of the key to that, "" if there is none.
func (t *target) key() string {
	if t.admin != nil {
		return t.admin.ClientKey
	}
	return t.ClientKeyFile
}

// onThisMachine reports whether the address can lead nowhere else.
func onThisMachine(u *url.URL) bool {
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.Unmap().IsLoopback() || strings.EqualFold(u.Hostname(), "localhost")
}
