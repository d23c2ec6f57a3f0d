package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"koguma/doctor"
	"koguma/mistake"
	"koguma/policy"
)

// meshDiagnosis is what is known of one mesh.
type meshDiagnosis struct {
	*diagnosis
	mesh    *policy.Mesh
	version uint64 // of the store, with which all of this is there
}

func (m *meshDiagnosis) run(ctx context.Context) {
	m.checkTrust(ctx)
	proxies, err := m.cp.overviews(ctx, m.mesh.Name)
	if err != nil {
		m.add(doctor.Bad(m.about("proxies"), "%v", err))
		return
	}
	m.checkProxies(proxies)
	m.checkCertificates(proxies)
	m.checkDelivery(ctx)
	m.checkTokens(ctx)
	m.checkSigningKeys(ctx)
	m.checkPermissions(ctx, proxies)
}

func (m *meshDiagnosis) about(what string) string { return "mesh " + m.mesh.Name + ": " + what }

// rootsEnd is how long before its end a CA is worth a word: a new one takes days to be trusted everywhere at leisure.
const rootsEnd = 30 * 24 * time.Hour

// checkTrust is about mTLS and the CAs.
func (m *meshDiagnosis) checkTrust(ctx context.Context) {
	name := m.about("mTLS")
	backend := m.mesh.Enabled()
	switch {
	case backend == nil:
		m.add(doctor.Doubt(name, "off: traffic is plain, and everybody may reach everybody").Fix("set mtls.enabledBackend in the Mesh"))
		return
	case backend.Mode == "PERMISSIVE":
		m.add(doctor.Doubt(name, "PERMISSIVE: inbounds take plaintext, too, from everybody").
			Fix("kumactl inspect mtls --mesh " + m.mesh.Name + ", then set mode: STRICT"))
	default:
		m.add(doctor.Good(name, "on, %s, by backend %s", cmp.Or(string(backend.Mode), "STRICT"), backend.Name))
	}
	path, err := meshPath(m.mesh.Name)
	var v policy.TrustOverview
	if err == nil {
		v, err = m.cp.trust(ctx, path)
	}
	name = m.about("CA")
	show := "kumactl inspect mesh " + m.mesh.Name
	switch {
	case err != nil:
		m.add(doctor.Bad(name, "%v", err))
		return
	case v.Fault != "":
		m.add(doctor.Bad(name, "the backend %s cannot be used: %s", v.Enabled, v.Fault).
			Fix("mend what it refers to; open connections and certificates that live are not concerned"))
	case v.Stage != "" && v.Stage != policy.StageSettled:
		m.add(doctor.Doubt(name, "a rotation to %s is in stage %s since %s, and waits for %s",
			v.Enabled, v.Stage, doctor.Moment(v.Since), cmp.Or(waitingFor(v.WaitsFor), "nobody")).Fix(show))
	}
	for _, a := range v.Authorities {
		seen := fmt.Sprintf("%s, %.16s; ends %s", a.Backend, a.Fingerprint, doctor.Until(a.NotAfter, m.now))
		fix := fmt.Sprintf("list another backend in the Mesh, then: kumactl rotate ca --mesh %s --to BACKEND --wait", m.mesh.Name)
		switch left := a.NotAfter.Sub(m.now); {
		case left <= 0:
			m.add(doctor.Bad(name, "%s", seen).Fix(fix))
		case left < rootsEnd:
			m.add(doctor.Doubt(name, "%s", seen).Fix(fix))
		default:
			m.add(doctor.Good(name, "%s", seen))
		}
	}
}

// checkTokens is about the tokens by which proxies are connected.
func (m *meshDiagnosis) checkTokens(ctx context.Context) {
	name := m.about("tokens")
	if !m.admin {
		m.add(doctor.Skip(name, "for administrators only"))
		return
	}
	uses, err := m.cp.tokensInUse(ctx, m.mesh.Name)
	if err != nil {
		m.add(doctor.Bad(name, "%v", err))
		return
	}
	var refused, ending []string
	for _, u := range uses {
		begin := u.IssuedAt
		switch {
		case !u.Admitted:
			refused = append(refused, fmt.Sprintf("%s (%s)", u.Proxy, u.Reason))
		case !begin.IsZero() && m.now.After(begin.Add(u.ExpiresAt.Sub(begin)*2/3)):
			ending = append(ending, fmt.Sprintf("%s (%s)", u.Proxy, doctor.Until(u.ExpiresAt, m.now)))
		}
	}
	anew := fmt.Sprintf("kumactl generate dataplane-token --mesh %s --name NAME --tag kuma.io/service=SERVICE --valid-for 720h > TOKEN_FILE",
		m.mesh.Name)
	if len(refused) > 0 {
		m.add(doctor.Bad(name, "would not be let in again: %s", few(refused)).Fix(anew))
	}
	if len(ending) > 0 {
		m.add(doctor.Doubt(name, "two thirds of their life are over: %s", few(ending)).Fix(anew))
	}
	if len(refused)+len(ending) == 0 {
		m.add(doctor.Good(name, "%s, and none ends soon", countOf(len(uses), "in use")))
	}
}

// checkSigningKeys is whether tokens can be made.
func (m *meshDiagnosis) checkSigningKeys(ctx context.Context) {
	name := m.about("signing key")
	if !m.admin {
		m.add(doctor.Skip(name, "for administrators only"))
		return
	}
	path, err := meshPath(m.mesh.Name)
	var keys []policy.SigningKey
	if err == nil {
		keys, err = allPages[policy.SigningKey](ctx, m.cp, path+"/signing-keys")
	}
	switch {
	case err != nil:
		m.add(doctor.Bad(name, "%v", err))
	case len(keys) == 0 && !m.open && m.setting.DPServer.Authn.DPProxy.DPToken.EnableIssuer:
		m.add(doctor.Bad(name, "there is none: no token can be made, and none of this control plane holds").
			Fix(mistake.Command("kumactl", "rotate", "signing-key", "--mesh", m.mesh.Name)))
	case len(keys) == 0:
		m.add(doctor.Good(name, "none, and no tokens are issued here"))
	case len(keys) > 1:
		m.add(doctor.Doubt(name, "%d keys: a rotation is not done", len(keys)).
			Fix(mistake.Command("kumactl", "rotate", "signing-key", "--mesh", m.mesh.Name)))
	default:
		m.add(doctor.Good(name, "number %d, made %s", keys[0].Serial, doctor.Moment(keys[0].CreationTime)))
	}
}

// checkPermissions is about inbounds that nobody may reach, and permissions that decide about nothing.
func (m *meshDiagnosis) checkPermissions(ctx context.Context, proxies []policy.DataplaneOverview) {
	name := m.about("permissions")
	if m.mesh.Enabled() == nil {
		m.add(doctor.Skip(name, "they are not asked while mTLS is off"))
		return
	}
	path, err := meshPath(m.mesh.Name)
	if err != nil {
		m.add(doctor.Bad(name, "%v", err))
		return
	}
	traffic, err := allPages[*policy.TrafficPermission](ctx, m.cp, path+"/traffic-permissions")
	var mesh []*policy.MeshTrafficPermission
	if err == nil {
		mesh, err = allPages[*policy.MeshTrafficPermission](ctx, m.cp, path+"/meshtrafficpermissions")
	}
	if err != nil {
		m.add(doctor.Bad(name, "%v", err))
		return
	}
	denied, idle := decide(traffic, mesh, proxies)
	if len(denied) > 0 {
		m.add(doctor.Doubt(name, "nobody may reach %s: no permission is for it", few(denied)).
			Fix(mistake.Command("kumactl", "inspect", "connection", "--mesh", m.mesh.Name, "--from", "SERVICE", "--to", denied[0])))
	}
	if len(idle) > 0 {
		m.add(doctor.Doubt(name, "decide about nobody: %s", few(idle)).
			Fix("look for a misspelt tag in their destinations; or others go before them, or their services are not there yet"))
	}
	if len(denied)+len(idle) == 0 {
		m.add(doctor.Good(name, "%s, and each inbound has one that decides", countOf(len(traffic)+len(mesh), "in all")))
	}
}

// decide finds the services with an inbound that no permission is for, and the permissions that decide about no inbound.
func decide(
	traffic []*policy.TrafficPermission, mesh []*policy.MeshTrafficPermission, proxies []policy.DataplaneOverview,
) (denied, idle []string) {
	permissions := policy.NewPermissions(traffic, mesh)
	used := map[policy.Resource]bool{}
	for i := range proxies {
		d := &policy.Dataplane{Meta: proxies[i].Meta, Networking: proxies[i].Dataplane.Networking}
		for j := range d.Networking.Inbound {
			in := &d.Networking.Inbound[j]
			if merged := permissions.Merge(d, in); merged != nil {
				for _, p := range merged.Permissions {
					used[p] = true
				}
			} else if p := permissions.Match(in.Tags); p != nil {
				used[p] = true
			} else if s := in.Service(); !slices.Contains(denied, s) {
				denied = append(denied, s)
			}
		}
	}
	for _, p := range traffic {
		if !used[p] {
			idle = append(idle, p.Name)
		}
	}
	for _, p := range mesh {
		if !used[p] {
			idle = append(idle, p.Name)
		}
	}
	slices.Sort(denied)
	return denied, idle
}

// few are some names, and how many more there are.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// countOf is "3 in use", or "none in use".
func countOf(n int, what string) string {
	if n == 0 {
		return "none " + what
	}
	return fmt.Sprintf("%d %s", n, what)
}
