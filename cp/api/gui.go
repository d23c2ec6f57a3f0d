package api

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"koguma/cp/problem"
	"koguma/gui"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// guiRoutes are those of the page. It is for everybody, as all that it reads is; but what was refused is in the log of the
// control plane otherwise, and for administrators.
func (a *API) guiRoutes() []Route {
	const title = "Could not show the page"
	return []Route{
		{"GET", "/gui", everybody, title, a.guiFile},
		{"GET", "/gui/{$}", everybody, title, a.guiFile},
		{"GET", "/gui/{file}", everybody, title, a.guiFile},
		{"GET", "/gui/events", everybody, title, a.guiEvents},
	}
}

// guiOff says why there is no page.
const guiOff = "the page is turned off: apiServer.gui.enabled (KUMA_API_SERVER_GUI_ENABLED)"

// guiTurnedOff is the answer where there is no page.
func (a *API) guiTurnedOff() error {
	if a.Config.APIServer.GUI.Enabled {
		return nil
	}
	return problem.Refuse(http.StatusNotFound, "Not found", guiOff)
}

func (a *API) guiFile(r *http.Request) (answer, error) {
	if err := a.guiTurnedOff(); err != nil {
		return answer{}, err
	}
	send, err := a.GUI.File(r.PathValue("file"))
	if errors.Is(err, fs.ErrNotExist) {
		return answer{}, problem.Refuse(http.StatusNotFound, "Not found", "there is nothing at this path; the page is at /gui")
	}
	return answer{send: send}, err
}

// guiEvents goes on until the page is closed.
func (a *API) guiEvents(r *http.Request) (answer, error) {
	if err := a.guiTurnedOff(); err != nil {
		return answer{}, err
	}
	mesh := r.URL.Query().Get("mesh")
	if err := policy.ValidMeshName(mesh); mesh != "" && err != nil {
		return answer{}, problem.Parameter("mesh", err.Error())
	}
	stream, err := a.GUI.Open(mesh, a.identify(r).admin)
	if errors.Is(err, gui.ErrTooMany) {
		return answer{}, problem.Refuse(http.StatusTooManyRequests, "Too many pages", err.Error())
	}
	return answer{send: func(w http.ResponseWriter) { stream.Serve(w, r) }}, err
}

// shownFirst is the mesh that is shown where none is asked for, and there is one of that name.
const shownFirst = "default"

// Look implements [gui.Source].
func (a *API) Look(ctx context.Context, mesh string) (*gui.State, error) {
	meshes, err := store.ListOf[*policy.Mesh](ctx, a.Registry.Store, policy.TypeMesh, "")
	if err != nil {
		return nil, err
	}
	state := &gui.State{Meshes: []string{}, Name: mesh, Proxies: []gui.Proxy{}, Refusals: a.Refused()}
	for _, m := range meshes {
		state.Meshes = append(state.Meshes, m.Name)
	}
	if mesh == "" && len(meshes) > 0 {
		state.Name = meshes[0].Name
		if slices.Contains(state.Meshes, shownFirst) {
			state.Name = shownFirst
		}
	}
	i := slices.Index(state.Meshes, state.Name)
	if i < 0 {
		return state, nil
	}
	state.Mesh = meshes[i]
	return state, errors.Join(a.lookAtPolicies(ctx, state), a.lookAtProxies(ctx, state))
}

func (a *API) lookAtPolicies(ctx context.Context, state *gui.State) (err error) {
	if state.Traffic, err = store.ListOf[*policy.TrafficPermission](ctx, a.Registry.Store, policy.TypeTrafficPermission, state.Name); err != nil {
		return err
	}
	state.MeshTraffic, err = store.ListOf[*policy.MeshTrafficPermission](ctx, a.Registry.Store, policy.TypeMeshTrafficPermission, state.Name)
	return err
}

// seenOf is what is known of the proxies of a mesh.
type seenOf struct {
	insights, tokens, deliveries Knowledge
	byToken                      map[string]*TokenInUse
	lacks                        map[string]policy.Pending
	absent                       map[string]policy.AbsentProxy
}

func (a *API) lookAtProxies(ctx context.Context, state *gui.State) (err error) {
	mesh := state.Name
	if state.Dataplanes, err = store.ListOf[*policy.Dataplane](ctx, a.Registry.Store, policy.TypeDataplane, mesh); err != nil {
		return err
	}
	state.Trust = a.Rotator.Overview(mesh)
	seen := a.seen(ctx, state)
	for _, d := range state.Dataplanes {
		state.Proxies = append(state.Proxies, seen.proxy(d))
	}
	state.Silent = seen.insights.Silent
	return ctx.Err() // of who did not wait for other control planes
}

// seen asks this control plane and all others, and those for everything at once.
func (a *API) seen(ctx context.Context, state *gui.State) *seenOf {
	s := &seenOf{byToken: map[string]*TokenInUse{}, lacks: map[string]policy.Pending{}, absent: map[string]policy.AbsentProxy{}}
	var asking sync.WaitGroup
	asking.Go(func() { s.insights = a.Fleet.Know(ctx, Question{Mesh: state.Name, About: AboutInsight}) })
	asking.Go(func() { s.tokens = a.Fleet.Know(ctx, Question{Mesh: state.Name, About: AboutToken}) })
	asking.Go(func() { s.deliveries = a.Fleet.Know(ctx, Question{Mesh: state.Name, About: AboutDelivery}) })
	asking.Wait()
	tokens := s.tokens.Tokens(state.Name)
	for i := range tokens {
		s.byToken[tokens[i].Proxy.Name] = &tokens[i]
	}
	keys := make([]policy.Key, len(state.Dataplanes))
	for i, d := range state.Dataplanes {
		keys[i] = d.Key()
	}
	delivery := s.deliveries.Delivery(state.Name, 0, keys)
	for _, p := range delivery.Pending {
		if old, ok := s.lacks[p.Proxy]; !ok || old.Refusal == "" { // a refusal explains the rest
			s.lacks[p.Proxy] = p.Pending
		}
	}
	for _, p := range delivery.Absent {
		s.absent[p.Proxy] = p
	}
	return s
}

// lag is how long a proxy may take for what is new before the page says that it lacks something.
const lag = 3 * time.Second

// proxy is how that of a Dataplane is.
func (s *seenOf) proxy(d *policy.Dataplane) gui.Proxy {
	key := d.Key()
	insight := s.insights.Insight(key)
	p := gui.Proxy{Name: d.Name, Services: d.Services(), Address: d.Networking.Address, Condition: gui.Online}
	if n := len(insight.Subscriptions); n > 0 {
		last := insight.Subscriptions[n-1]
		p.Since = cmp.Or(last.DisconnectTime, last.ConnectTime).UTC()
	}
	absent, away := s.absent[d.Name]
	lacks, lacking := s.lacks[d.Name]
	switch {
	case away && s.deliveries.Standing(key).Ending.Out:
		p.Condition, p.Why = gui.Out, absent.Why
	case away:
		p.Condition, p.Why = gui.Offline, absent.Why
	case lacking && lacks.Refusal != "":
		p.Condition, p.Why = gui.Refused, lacks.Refusal
	case lacking && (lacks.Since.IsZero() || time.Since(lacks.Since) > lag):
		p.Condition, p.Why = gui.Behind, strings.TrimPrefix(lacks.Type+": "+lacks.Reason, ": ")
	}
	if m := insight.MTLS; m != nil {
		p.Certificate = &gui.Certificate{Made: m.LastCertificateRegeneration, Ends: m.CertificateExpirationTime, Backend: m.IssuedBackend}
	}
	p.Token = s.token(key)
	return p
}

// token is that by which a proxy is, or was, connected; nil if that is not known, or it has none.
func (s *seenOf) token(key policy.Key) *gui.Token {
	if t := s.byToken[key.Name]; t != nil {
		shown := &gui.Token{Ends: t.Claims.ExpiresAt.UTC()}
		if t.Err != nil {
			shown.Fault = "it would not be let in now"
			if refusal, ok := errors.AsType[*token.Refusal](t.Err); ok {
				shown.Fault = string(refusal.Reason) // and not which token it is
			}
		}
		return shown
	}
	if _, away := s.absent[key.Name]; away {
		if t := s.insights.Identity(key).Token; t != nil {
			shown := &gui.Token{Ends: t.ExpiresAt}
			if s.insights.Revoked(key.Mesh, t.ID) {
				shown.Fault = string(token.ReasonRevoked)
			}
			return shown
		}
	}
	return nil
}
