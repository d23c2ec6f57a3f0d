package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"koguma/policy"
	"koguma/xds"
)

// mtls answers how the traffic of a mesh is protected.
func (a *API) mtls(r *http.Request) (answer, error) {
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	name := r.PathValue("mesh")
	if err := a.checkMesh(r, name); err != nil {
		return answer{}, err
	}
	m, err := a.Registry.Mesh(r.Context(), name)
	if err != nil {
		return answer{}, err
	}
	state := policy.MeshMTLS{Mesh: name, Mode: xds.ModeOf(m)}
	if b := m.Enabled(); b != nil {
		state.Backend = b.Name
	}
	var warning string
	if state.Items, warning, err = a.inbounds(r.Context(), name); err != nil {
		return answer{}, err
	}
	state.Total = len(state.Items)
	return answer{body: state, warning: warning}, nil
}

// inbounds are those of a mesh with what was reported of them, sorted by proxy; warning is what is not known, "" if all is.
func (a *API) inbounds(ctx context.Context, mesh string) (all []policy.InboundMTLS, warning string, err error) {
	dataplanes, err := a.Registry.Store.List(ctx, policy.TypeDataplane, mesh)
	if err != nil {
		return nil, "", err
	}
	known := a.Fleet.Know(ctx, Question{Mesh: mesh, About: AboutInsight})
	all = []policy.InboundMTLS{}
	for _, d := range dataplanes {
		all = append(all, inboundsOf(d.(*policy.Dataplane), known.Insight(d.Metadata().Key()))...)
	}
	slices.SortStableFunc(all, func(x, y policy.InboundMTLS) int { return cmp.Compare(x.Proxy, y.Proxy) })
	return all, known.warning(), nil
}

// recently is how long ago plaintext counts for who makes a mesh strict. maxNamed is how many inbounds a warning names.
const (
	recently = time.Hour
	maxNamed = 10
)

// stillPlaintext warns who makes a permissive mesh strict of those who would be cut off by that, as far as it is known.
func (a *API) stillPlaintext(ctx context.Context, r policy.Resource) ([]string, error) {
	m, ok := r.(*policy.Mesh)
	if !ok || xds.ModeOf(m) != policy.ModeStrict {
		return nil, nil
	}
	old, err := a.Registry.Find(ctx, m.Key())
	if err != nil || old == nil || xds.ModeOf(old.(*policy.Mesh)) != policy.ModePermissive {
		return nil, err
	}
	all, warning, err := a.inbounds(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	var warnings []string
	if warning != "" {
		warnings = append(warnings, warning)
	}
	var spoken, unknown []string
	for _, in := range all {
		where := fmt.Sprintf("%s at %s (%s)", in.Service, in.Address, in.Proxy)
		switch {
		case in.Since.IsZero():
			unknown = append(unknown, where)
		case time.Since(in.LastSeen) < recently:
			spoken = append(spoken, where)
		}
	}
	if len(spoken) > 0 {
		warnings = append(warnings, fmt.Sprintf("within the last hour somebody came without mTLS, and is refused from now on, to %s; "+
			"kumactl inspect mtls -m %s shows how many", named(spoken), m.Name))
	}
	if len(unknown) > 0 {
		warnings = append(warnings, fmt.Sprintf("nothing is known of who comes without mTLS to %s", named(unknown)))
	}
	return warnings, nil
}

// named lists the first few of many.
func named(all []string) string {
	s := strings.Join(all[:min(len(all), maxNamed)], ", ")
	if more := len(all) - maxNamed; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// inboundsOf are the inbounds of a Dataplane, with what was reported of them.
func inboundsOf(d *policy.Dataplane, seen policy.DataplaneInsight) []policy.InboundMTLS {
	var all []policy.InboundMTLS
	for i := range d.Networking.Inbound {
		in := &d.Networking.Inbound[i]
		if in.State == policy.StateIgnored {
			continue
		}
		listener := xds.ListenerOf(d.Listen(in))
		var m policy.InboundMTLS
		if at := slices.IndexFunc(seen.Plaintext, func(p policy.InboundMTLS) bool { return p.Address == listener }); at >= 0 {
			m = seen.Plaintext[at]
		}
		m.Proxy, m.Service, m.Address = d.Name, in.Service(), d.Listen(in).String()
		all = append(all, m)
	}
	return all
}
