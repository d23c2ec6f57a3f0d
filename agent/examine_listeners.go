package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"koguma/doctor"
	"koguma/mistake"
	"koguma/policy"
	"koguma/token"
)

// maxBootstrap bounds what is read of the bootstrap of an Envoy that runs.
const maxBootstrap = 1 << 20

// checkListeners looks at the ports of the proxy and of its workloads.
func (x *exam) checkListeners(ctx context.Context) []doctor.Check {
	listeners, err := doctor.Listeners()
	if err != nil {
		return []doctor.Check{doctor.Skip("ports", "%v", err)}
	}
	checks := []doctor.Check{x.checkReadiness(ctx, listeners)}
	if x.Dataplane == nil {
		return append(checks, doctor.Skip("ports", "the Dataplane is not known here"))
	}
	n := &x.Dataplane.Networking
	for i := range n.Inbound {
		in := &n.Inbound[i]
		at := x.Dataplane.Listen(in)
		if in.State != policy.StateIgnored {
			checks = append(checks, x.checkPort(fmt.Sprintf("inbound of %s, %v", in.Service(), at), at, listeners))
		}
		checks = append(checks, checkWorkload(ctx, in.Service(), x.Dataplane.Workload(in), listeners))
	}
	for i := range n.Outbound {
		at := n.Outbound[i].Listen()
		checks = append(checks, x.checkPort(fmt.Sprintf("outbound to %s, %v", n.Outbound[i].Service(), at), at, listeners))
	}
	return checks
}

// checkPort is about an address at which Envoy is to listen.
func (x *exam) checkPort(name string, at netip.AddrPort, listeners []doctor.Listener) doctor.Check {
	switch err := doctor.Bindable(at); {
	case err == nil:
		return doctor.Good(name, "free")
	case errors.Is(err, syscall.EADDRINUSE):
		who, ours := x.holder(at, listeners)
		if ours {
			return doctor.Good(name, "taken by %s: the proxy runs", who)
		}
		return doctor.Mistaken(name, mistake.ProxyPort, fmt.Errorf("taken by %s", who), mistake.WhoListens(int(at.Port())))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return doctor.Bad(name, "this machine does not have the address %v", at.Addr()).
			Fix("give one that `ip address` shows, in networking.address")
	case errors.Is(err, syscall.EACCES):
		return doctor.Bad(name, "this user may not listen at a port below 1024").
			Fix("choose another port, or: sysctl net.ipv4.ip_unprivileged_port_start=" + strconv.Itoa(int(at.Port())))
	default:
		return doctor.Bad(name, "%v", err)
	}
}

// holder is who listens at the address, and whether that is the Envoy of this proxy.
func (x *exam) holder(at netip.AddrPort, listeners []doctor.Listener) (who string, ours bool) {
	i := slices.IndexFunc(listeners, func(l doctor.Listener) bool { return l.Takes(at) })
	if i < 0 {
		return "somebody who does not listen yet", false
	}
	p, ok := listeners[i].Holder()
	if !ok {
		return "a process of another user", false
	}
	node := nodeOf(p)
	if node == "" {
		return p.String(), false
	}
	return fmt.Sprintf("%v, the Envoy of %s", p, node), node == x.Mesh+"."+x.Name
}

// nodeOf is the id of the node of an Envoy that an agent has started, "" if the process is none, or not ours to read.
func nodeOf(p doctor.Process) string {
	path := p.Flag("--config-path")
	if path == "" {
		return ""
	}
	data, _, err := token.ReadFile(path, maxBootstrap)
	var bootstrap struct {
		Node struct {
			ID string `json:"id"`
		} `json:"node"`
	}
	if err != nil || policy.DecodeOpen(data, &bootstrap) != nil {
		return ""
	}
	return bootstrap.Node.ID
}

// checkWorkload is about what is behind an inbound. It may well be started after its proxy.
func checkWorkload(ctx context.Context, service string, at netip.AddrPort, listeners []doctor.Listener) doctor.Check {
	name := fmt.Sprintf("workload %s, %v", service, at)
	if i := slices.IndexFunc(listeners, func(l doctor.Listener) bool { return l.Takes(at) }); i >= 0 {
		who := "somebody"
		if p, ok := listeners[i].Holder(); ok {
			who = p.String()
		}
		return doctor.Good(name, "%s listens", who)
	}
	here := doctor.Bindable(netip.AddrPortFrom(at.Addr(), 0)) == nil
	if !here {
		conn, next, err := doctor.Dial(ctx, at.String())
		if err != nil {
			return doctor.Doubt(name, "%v", err).Fix(next)
		}
		conn.Close()
		return doctor.Good(name, "somebody listens, on another machine")
	}
	return doctor.Doubt(name, "nobody listens: who is let in gets no answer (503, or a connection that is closed)").
		Fix("start the workload, or give the port at which it listens as servicePort")
}

// checkReadiness is about the port at which the agent tells of itself, and finds an agent that runs under the same name.
func (x *exam) checkReadiness(ctx context.Context, listeners []doctor.Listener) doctor.Check {
	const name, another = "readiness port", "choose another --readiness-port, or leave it out"
	port := x.ReadinessPort
	if port == 0 {
		port = DefaultReadinessPort
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	switch err := doctor.Bindable(at); {
	case err == nil:
		return doctor.Good(name, "%v is free", at)
	case !errors.Is(err, syscall.EADDRINUSE):
		return doctor.Bad(name, "%v: %v", at, err).Fix(another)
	}
	id, err := x.askIdentity(ctx, at)
	switch {
	case err == nil && id.Mesh == x.Mesh && id.Proxy == x.Name:
		return doctor.Good(name, "a kuma-dp for %s of mesh %s runs, and answers at http://%v; another one would take its name",
			id.Proxy, id.Mesh, at)
	case x.ReadinessPort == 0:
		return doctor.Good(name, "%v is taken; kuma-dp will choose another and log it", at)
	case err == nil:
		return doctor.Mistaken(name, mistake.ProxyPort, fmt.Errorf("%v is taken by the kuma-dp of %s, mesh %s", at, id.Proxy, id.Mesh), another)
	}
	who, _ := x.holder(at, listeners)
	return doctor.Mistaken(name, mistake.ProxyPort, fmt.Errorf("%v is taken by %s", at, who), mistake.WhoListens(port), another)
}

// askIdentity asks an agent on this machine whose it is.
func (x *exam) askIdentity(ctx context.Context, at netip.AddrPort) (policy.ProxyIdentity, error) {
	ctx, cancel := context.WithTimeout(ctx, doctor.Patience)
	defer cancel()
	var id policy.ProxyIdentity
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/identity", nil)
	if err != nil {
		return id, err
	}
	answer, err := doctor.Ask(&http.Transport{DisableKeepAlives: true}, req)
	if err != nil {
		return id, err
	}
	if err := policy.DecodeOpen(answer.Text, &id); err != nil {
		return id, err
	}
	if id.Seen != policy.SeenByAgent {
		return id, errors.New("no agent")
	}
	return id, nil
}
