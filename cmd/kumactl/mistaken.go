package main

import (
	"cmp"
	"net"
	"net/url"
	"regexp"

	"koguma/mistake"
	"koguma/policy"
)

// noProblem says that an answer is none of a control plane.
type noProblem struct{ error }

// absentMesh is how a control plane says which mesh is missing.
var absentMesh = regexp.MustCompile(`there is no mesh "([^"]*)"`)

// mistaken is what a control plane answered, with the code that it gave, if that is one for kumactl.
func (c *client) mistaken(err error) error {
	p, ok := err.(*problem)
	if !ok {
		return c.away(err)
	}
	switch mistake.Code(p.Code) {
	case mistake.ReadOnly:
		return c.target.readOnly(err)
	case mistake.MeshMissing:
		m := absentMesh.FindStringSubmatch(p.Error())
		if m == nil || policy.ValidMeshName(m[1]) != nil {
			return mistake.New(mistake.MeshMissing, err)
		}
		return mistake.New(mistake.MeshMissing, err, "kumactl get meshes", `printf 'type: Mesh\nname: `+m[1]+`\n' | kumactl apply -f -`)
	}
	return err
}

// readOnly is that of a caller who is no administrator here.
func (t *target) readOnly(err error) error {
	u, parseErr := url.Parse(t.URL)
	if parseErr != nil {
		return mistake.New(mistake.ReadOnly, err)
	}
	return mistake.New(mistake.ReadOnly, err,
		"kumactl generate tls-certificate --type client --cert-file CERT_FILE --key-file KEY_FILE",
		addCommand(t.name, "https://"+net.JoinHostPort(u.Hostname(), "5682"))+
			" --ca-cert-file CA_FILE --client-cert-file CERT_FILE --client-key-file KEY_FILE")
}

// away is that of a control plane that does not answer at the address that kumactl has for it.
func (c *client) away(err error) error {
	host := "HOST"
	if c.base.Port() != "5681" {
		host = c.base.Hostname()
	}
	next := []string{"kumactl config control-planes list", addCommand(c.target.name, "http://"+net.JoinHostPort(host, "5681"))}
	return mistake.New(mistake.APIAway, err, next...)
}

// refused is that of an address at which nobody listens.
func (c *client) refused(err error) error {
	if onThisMachine(c.base) {
		return mistake.New(mistake.APIAway, err, "kuma-cp run", "kumactl config control-planes list")
	}
	return c.away(err)
}

// addCommand is the command that gives a control plane another address.
func addCommand(name, address string) string {
	return mistake.Command("kumactl", "config", "control-planes", "add", "--overwrite", "--name", cmp.Or(name, "NAME"), "--address", address)
}
