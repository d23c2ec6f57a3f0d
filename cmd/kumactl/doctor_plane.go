package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"koguma/doctor"
	"koguma/mistake"
	"koguma/policy"
)

// ask sends a request as other commands do, with less patience, and is the whole answer.
func (d *diagnosis) ask(ctx context.Context, path string) (*doctor.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, doctor.Patience)
	defer cancel()
	req, err := d.cp.newRequest(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	return doctor.Ask(d.cp.http.Transport, req)
}

// checkControlPlane is whether it can be reached, and who it is, and what time it is there.
func (d *diagnosis) checkControlPlane(ctx context.Context) bool {
	const name = "control plane"
	answer, err := d.ask(ctx, "/")
	var i struct {
		Product    string `json:"product"`
		Version    string `json:"version"`
		InstanceID string `json:"instanceId"`
	}
	if err == nil && (answer.StatusCode != http.StatusOK || policy.DecodeOpen(answer.Text, &i) != nil || i.Product == "") {
		err = fmt.Errorf("what answers at %s is no API of a control plane (%s)", d.cp.base, answer.Status)
	} else if err != nil {
		err = d.unreached(ctx, err)
	}
	if err != nil {
		d.add(doctor.Mistaken(name, mistake.APIAway, err))
		return false
	}
	seen := fmt.Sprintf("%s %s, instance %s", i.Product, i.Version, i.InstanceID)
	switch own := readBuild().version; {
	case i.Product != product:
		d.add(doctor.Doubt(name, "%s, which is not the product that this kumactl is for", seen))
	case i.Version != own:
		d.add(doctor.Doubt(name, "%s; this kumactl is version %s", seen, own).Fix("use the same version of both"))
	default:
		d.add(doctor.Good(name, "%s", seen))
	}
	d.checkServer(answer)
	d.add(doctor.Clock("clock", answer.Header, answer.Sent, answer.Received))
	return true
}

// unreached says why there is no answer, and what is there instead of a control plane.
func (d *diagnosis) unreached(ctx context.Context, err error) error {
	port := d.cp.base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[d.cp.base.Scheme]
	}
	address := net.JoinHostPort(d.cp.base.Hostname(), port)
	conn, _, away := doctor.Dial(ctx, address)
	if away != nil {
		return fmt.Errorf("%s: %w", d.cp.base, away)
	}
	conn.Close()
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("somebody takes the connection at %s, and says nothing", d.cp.base)
	}
	explained := d.cp.explain(err)
	if who := doctor.WhoIs(ctx, address); who != "" {
		return fmt.Errorf("%w; at this address is %s", explained, who)
	}
	return explained
}

// checkServer is about the way to the control plane.
func (d *diagnosis) checkServer(answer *doctor.Answer) {
	const name = "its certificate"
	t := &d.cp.target
	switch {
	case answer.TLS == nil && onThisMachine(d.cp.base):
	case answer.TLS == nil:
		d.add(doctor.Doubt(name, "none: what is read comes in the clear, and from whoever answers").
			Fix("start kuma-cp with KUMA_API_SERVER_HTTPS_ENABLED=true, and add it as https://HOST:5682 with --ca-cert-file"))
	case t.SkipVerify:
		d.add(doctor.Doubt(name, "not verified, because of --skip-verify; it is for %s", doctor.Names(answer.TLS.PeerCertificates[0])).
			Fix("kumactl config control-planes add --overwrite --ca-cert-file CA_FILE ..."))
	default:
		known := "known by a CA of the system"
		if t.CACertFile != "" {
			known = "known by " + t.CACertFile
		} else if t.admin != nil && t.admin.ServerFingerprint != "" {
			known = "known as the one that was there when it was added"
		}
		d.add(doctor.Certificate(name, answer.TLS.PeerCertificates[0], known, d.now))
	}
}

// checkRights is whether we may change anything.
func (d *diagnosis) checkRights(ctx context.Context) {
	const name = "your rights"
	var who struct {
		Name   string   `json:"name"`
		Groups []string `json:"groups"`
	}
	if _, err := d.cp.call(ctx, http.MethodGet, "/who-am-i", nil, nil, &who); err != nil {
		d.add(doctor.Skip(name, "%v", err))
		return
	}
	d.admin = strings.HasSuffix(who.Name, ":admin")
	if d.admin {
		d.add(doctor.Good(name, "administrator: you may read and change everything"))
		return
	}
	c := doctor.Mistaken(name, mistake.ReadOnly, fmt.Errorf("%s: you may read what is no secret, and change nothing", who.Name))
	c.Result = doctor.Warning
	d.add(c)
}

// settingsSeen is as much of the settings in effect as matters here.
type settingsSeen struct {
	Store struct {
		Type string `json:"type"`
	} `json:"store"`
	APIServer struct {
		ReadOnly bool `json:"readOnly"`
	} `json:"apiServer"`
	DPServer struct {
		Authn struct {
			DPProxy struct {
				DPToken struct {
					EnableIssuer bool `json:"enableIssuer"`
				} `json:"dpToken"`
			} `json:"dpProxy"`
		} `json:"authn"`
	} `json:"dpServer"`
	Diagnostics struct {
		Interface  string `json:"interface"`
		ServerPort int    `json:"serverPort"`
	} `json:"diagnostics"`
}

// checkStore is about the settings, and whether the store takes changes.
func (d *diagnosis) checkStore(ctx context.Context) {
	if _, err := d.cp.call(ctx, http.MethodGet, "/config", nil, nil, &d.setting); err != nil {
		d.add(doctor.Skip("store", "%v", err))
		return
	}
	if d.setting.APIServer.ReadOnly {
		d.add(doctor.Doubt("API", "it is read-only, by apiServer.readOnly"))
	}
	if d.setting.Store.Type == "memory" {
		d.add(doctor.Doubt("store", "memory: everything is forgotten when kuma-cp ends, signing keys too").
			Fix("start kuma-cp with KUMA_STORE_TYPE=file, or postgres"))
		return
	}
	d.add(d.askReady(ctx))
}

// askReady asks the diagnostics of the control plane, if they can be reached from here.
func (d *diagnosis) askReady(ctx context.Context) doctor.Check {
	const name = "store"
	at, err := netip.ParseAddr(d.setting.Diagnostics.Interface)
	port := d.setting.Diagnostics.ServerPort
	host := d.cp.base.Hostname()
	switch {
	case err != nil || port == 0:
		return doctor.Skip(name, "%s; the port of /ready is not known", d.setting.Store.Type)
	case at.IsLoopback() && !onThisMachine(d.cp.base):
		return doctor.Skip(name, "%s; /ready can be asked on the machine of the control plane only", d.setting.Store.Type)
	case !at.IsUnspecified():
		host = at.String()
	}
	ctx, cancel := context.WithTimeout(ctx, doctor.Patience)
	defer cancel()
	address := net.JoinHostPort(host, strconv.Itoa(port))
	answer, err := doctor.AskReady(ctx, address)
	switch {
	case err != nil:
		return doctor.Skip(name, "%s; http://%s/ready cannot be asked: %v", d.setting.Store.Type, address, err)
	case answer.StatusCode != http.StatusOK:
		return doctor.Bad(name, "%s; %s", d.setting.Store.Type, answer.Text).Fix("look at the log of kuma-cp, and at its store")
	}
	return doctor.Good(name, "%s; %s", d.setting.Store.Type, answer.Text)
}

// checkOthers is about the control planes that share the store.
func (d *diagnosis) checkOthers(ctx context.Context) {
	const name = "control planes"
	if !d.admin {
		d.add(doctor.Skip(name, "for administrators only"))
		return
	}
	var all policy.ControlPlanes
	if _, err := d.cp.call(ctx, http.MethodGet, "/control-planes", nil, nil, &all); err != nil {
		d.add(doctor.Skip(name, "%v", err))
		return
	}
	if len(all.Items) == 1 {
		d.add(doctor.Good(name, "this one only, with %d proxies", all.Items[0].Proxies))
		return
	}
	for _, cp := range all.Items {
		who := name + ", " + cp.Address
		if cp.Status == policy.ControlPlaneUnheard {
			d.add(doctor.Bad(who, "%s does not answer since %s; rotations wait for it, and its proxies may have anything",
				cp.InstanceID, doctor.Moment(cp.Since)).
				Fix("start it, or end it in good order; look whether port 5683 is open between them"))
			continue
		}
		d.add(doctor.Good(who, "%s, version %s, %s, with %d proxies", cp.InstanceID, cp.Version, cp.Status, cp.Proxies))
	}
}

// checkDPServer looks at what proxies see: whether they need a token, and the certificate.
func (d *diagnosis) checkDPServer(ctx context.Context) {
	const name = "server for proxies"
	var catalog struct {
		APIs struct {
			Bootstrap struct {
				URL string `json:"url"`
			} `json:"bootstrap"`
			DataplaneToken *struct{} `json:"dataplaneToken"`
		} `json:"apis"`
	}
	if _, err := d.cp.call(ctx, http.MethodGet, "/catalog", nil, nil, &catalog); err != nil {
		d.add(doctor.Skip(name, "%v", err))
		return
	}
	if d.open = catalog.APIs.DataplaneToken == nil; d.open {
		d.add(doctor.Doubt("authentication", "proxies need no token: whoever reaches the control plane is the proxy that it says it is").
			Fix("start kuma-cp with KUMA_DP_SERVER_AUTHN_DP_PROXY_TYPE=dpToken"))
	}
	u, err := url.Parse(catalog.APIs.Bootstrap.URL)
	if err != nil || u.Host == "" {
		d.add(doctor.Skip(name, "the control plane does not say where it is"))
		return
	}
	conn, next, err := doctor.Dial(ctx, u.Host)
	if err != nil {
		d.add(doctor.Doubt(name, "cannot be reached from here at %s: %v", u.Host, err).Fix(next))
		return
	}
	conn.Close()
	chain := doctor.Chain(ctx, u.Host)
	if len(chain) == 0 {
		d.add(doctor.Mistaken(name, mistake.ControlPlaneNone, fmt.Errorf("no TLS at %s", u.Host)))
		return
	}
	d.add(doctor.Certificate(name, chain[0], "at "+u.Host, d.now))
}
