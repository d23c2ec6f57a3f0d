package cp

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"google.golang.org/grpc/status"
	"sigs.k8s.io/yaml"

	"koguma/bootstrap"
	"koguma/cp/api"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// bootstrapRequest is what an agent asks for an Envoy's bootstrap with, as far as the answer depends on it.
type bootstrapRequest struct {
	Mesh              string `json:"mesh"`
	Name              string `json:"name"`
	ProxyType         string `json:"proxyType"`
	DataplaneToken    string `json:"dataplaneToken"`
	DataplaneResource string `json:"dataplaneResource"`
	Workdir           string `json:"workdir"`
	Features          []any  `json:"features"`
}

// checkHeader says which check a refusal comes from, in the words of the metric.
const checkHeader = "Koguma-Check"

// featureDelta is how an agent says that its Envoy shall use the incremental variant of ADS.
const featureDelta = "feature-delta-grpc"

// bootstrapper answers POST /bootstrap: the bootstrap of an Envoy that dials the control plane itself. Koguma's own
// agent needs none.
type bootstrapper struct {
	cfg      settings.BootstrapParamsConfig
	store    store.Store
	verifier token.Verifier
	open     bool // tokens are not looked at
	cert     *serverCert
	port     int
	refusals *refusals
}

func (b *bootstrapper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/bootstrap" {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return
	}
	var req bootstrapRequest
	made, code, err := b.answer(r, &req)
	if err != nil {
		check := bootstrapCheck(code, err)
		b.refusals.add("bootstrap", r.RemoteAddr, req.Mesh+"."+req.Name, check, err)
		w.Header().Set(checkHeader, check)
		if code == http.StatusNotFound {
			w.WriteHeader(code) // agents that find no words try again until the Dataplane is there
			return
		}
		http.Error(w, err.Error(), code)
		return
	}
	if r.Header.Get("Accept") == "application/json" {
		body, err := policy.Encode(map[string]any{"bootstrap": made, "kumaSidecarConfiguration": struct{}{}})
		if err != nil {
			http.Error(w, "the answer cannot be encoded", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
		return
	}
	w.Header().Set("Content-Type", "text/x-yaml")
	w.Write(made)
}

// answer reads the request into req, and is the bootstrap in YAML, or an error and the status to say it with.
func (b *bootstrapper) answer(r *http.Request, req *bootstrapRequest) ([]byte, int, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, api.MaxBody+1))
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	if len(body) > api.MaxBody {
		return nil, http.StatusRequestEntityTooLarge, errors.New("the request is larger than 1 MiB")
	}
	if err := policy.DecodeOpen(body, req); err != nil {
		return nil, http.StatusBadRequest, err
	}
	if code, err := b.check(r, req); err != nil {
		return nil, code, err
	}
	params, err := b.params(r, req)
	if err != nil {
		return nil, http.StatusInternalServerError, err
	}
	made, err := bootstrap.Build(params)
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	json, err := bootstrap.Marshal(made)
	if err != nil {
		return nil, http.StatusInternalServerError, err
	}
	text, err := yaml.JSONToYAML(json)
	return text, http.StatusInternalServerError, err
}

// check judges the request as the stream that will follow from it is going to be judged.
func (b *bootstrapper) check(r *http.Request, req *bootstrapRequest) (int, error) {
	if err := cmp.Or(policy.ValidMeshName(req.Mesh), policy.ValidName(req.Name)); err != nil {
		return http.StatusBadRequest, err
	}
	if req.ProxyType != "" && req.ProxyType != "dataplane" {
		return http.StatusBadRequest, errors.New("proxyType: only dataplane is served here")
	}
	if !filepath.IsAbs(req.Workdir) {
		return http.StatusBadRequest, errors.New("workdir: must be the absolute path of the folder for Envoy's admin socket")
	}
	claims := token.Claims{Mesh: req.Mesh, Name: req.Name}
	if !b.open {
		if req.DataplaneToken == "" {
			return http.StatusUnprocessableEntity, errors.New("dataplaneToken: missing; generate one with kumactl generate dataplane-token")
		}
		var err error
		if claims, err = b.verifier.Verify(token.Raw(req.DataplaneToken), req.Mesh, time.Now()); err != nil {
			return refusalStatus(err), err
		}
	}
	key := policy.Key{Type: policy.TypeDataplane, Mesh: req.Mesh, Name: req.Name}
	stored, err := b.store.Get(r.Context(), key)
	d, _ := stored.(*policy.Dataplane)
	switch {
	case err == nil:
		err = claims.Admit(d)
	case !errors.Is(err, store.ErrNotFound):
		return http.StatusServiceUnavailable, err
	case req.DataplaneResource == "":
		return http.StatusNotFound, err
	default:
		err = nil
	}
	if err == nil && req.DataplaneResource != "" {
		var bad error
		if d, bad = parseBrought(req.DataplaneResource, key); bad != nil {
			return http.StatusUnprocessableEntity, errors.New(status.Convert(bad).Message())
		}
		err = claims.Admit(d)
	}
	if err != nil {
		return refusalStatus(err), err
	}
	return b.checkMember(r.Context(), d)
}

// checkMember judges by the constraints of the mesh.
func (b *bootstrapper) checkMember(ctx context.Context, d *policy.Dataplane) (int, error) {
	mesh, err := b.store.Get(ctx, policy.Key{Type: policy.TypeMesh, Name: d.Mesh})
	if err != nil {
		return http.StatusServiceUnavailable, err
	}
	if err := mesh.(*policy.Mesh).Admit(d); err != nil {
		return http.StatusForbidden, err
	}
	return 0, nil
}

// bootstrapCheck is the check that failed, in the words of the metric.
func bootstrapCheck(code int, err error) string {
	if r, ok := errors.AsType[*token.Refusal](err); ok {
		return string(r.Reason)
	}
	if _, ok := errors.AsType[*policy.NotMember](err); ok {
		return checkMembership
	}
	switch code {
	case http.StatusNotFound:
		return "no-dataplane"
	case http.StatusServiceUnavailable, http.StatusInternalServerError:
		return "unavailable"
	}
	return "invalid"
}

// refusalStatus is the status for a token that was refused.
func refusalStatus(err error) int {
	if r, ok := errors.AsType[*token.Refusal](err); ok && r.Reason.Boundary() {
		return http.StatusForbidden
	}
	return http.StatusUnauthorized
}

func (b *bootstrapper) params(r *http.Request, req *bootstrapRequest) (bootstrap.Params, error) {
	root, name, err := b.cert.root()
	if err != nil {
		return bootstrap.Params{}, err
	}
	metadata := map[string]any{"dataplane.proxyType": "dataplane"}
	if req.DataplaneResource != "" {
		metadata["dataplane.resource"] = req.DataplaneResource
	}
	delta := false
	for _, f := range req.Features {
		delta = delta || f == featureDelta
	}
	raw := req.DataplaneToken
	if b.open {
		raw = ""
	}
	return bootstrap.Params{
		NodeID:      req.Mesh + "." + req.Name,
		Cluster:     req.Name,
		Metadata:    metadata,
		AdminSocket: filepath.Join(req.Workdir, "kuma-envoy-admin.sock"),
		Delta:       delta,
		Direct: &bootstrap.Direct{
			Host:       cmp.Or(b.cfg.XDSHost, api.HostOnly(r.Host)),
			Port:       cmp.Or(b.cfg.XDSPort, b.port),
			ServerName: name,
			CA:         root,
			Token:      raw,
		},
	}, nil
}
