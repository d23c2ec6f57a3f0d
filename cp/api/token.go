package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"koguma/cp/problem"
	"koguma/cp/settings"
	"koguma/mistake"
	"koguma/policy"
	"koguma/token"
)

// Issuer makes data plane tokens.
type Issuer interface {
	// Issue signs with the newest key of the mesh that the claims name, and tells its id, or returns ErrNoSigningKey.
	Issue(ctx context.Context, c token.Claims) (raw token.Raw, kid string, err error)
}

// ErrNoSigningKey says that a mesh has no key that could sign a token.
var ErrNoSigningKey = errors.New("there is no signing key")

// warningHeader carries what kumactl shows to whoever asked.
const warningHeader = "Koguma-Warning"

// warn adds a warning to an answer of which nothing was sent yet; "" is none.
func warn(w http.ResponseWriter, text string) {
	if text != "" {
		w.Header().Add(warningHeader, text)
	}
}

// tokenRequest is the body of POST /tokens/dataplane.
type tokenRequest struct {
	Name     string              `json:"name"`
	Mesh     string              `json:"mesh"`
	Tags     map[string][]string `json:"tags"`
	Type     string              `json:"type"`
	ValidFor string              `json:"validFor"` // as Go writes durations; "" is [token.MaxLife]
}

func (a *API) issueToken(r *http.Request) (answer, error) {
	return a.issue(r, func(*tokenRequest) error { return nil })
}

// issue answers with the token that the body asks for, if allow has nothing against it.
func (a *API) issue(r *http.Request, allow func(*tokenRequest) error) (answer, error) {
	if ok, setting := a.Config.Issues(); !ok {
		return answer{}, problem.Refuse(http.StatusNotFound, "Not found", "this control plane issues no tokens, because "+setting+
			" is false; make them with kumactl generate dataplane-token --signing-key-path FILE --kid ID")
	}
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	req, wanted, err := readTokenRequest(r.Body)
	if err != nil {
		return answer{}, err
	}
	if err := allow(&req); err != nil {
		return answer{}, err
	}
	if err := a.checkTokenMesh(r.Context(), req.Mesh); err != nil {
		return answer{}, err
	}
	raw, kid, err := a.Issuer.Issue(r.Context(), wanted)
	if err != nil {
		return answer{}, err
	}
	claims, err := token.Inspect(raw)
	if err != nil {
		return answer{}, err
	}
	return answer{token: raw, warning: a.tokenWarning(&req, claims), audit: []any{
		"mesh", claims.Mesh, "name", claims.Name, "jti", claims.ID, "kid", kid, "exp", claims.ExpiresAt,
	}}, nil
}

// tokenWarning is what whoever asked for a token may not have meant.
func (a *API) tokenWarning(req *tokenRequest, claims token.Claims) string {
	var warnings []string
	if req.ValidFor == "" {
		warnings = append(warnings, "the token is valid for 10 years, because no validity was given; give one, such as 720h")
		a.Log.Warn("a token was issued for 10 years, because the request gave no validity", "mesh", req.Mesh, "jti", claims.ID)
	}
	if !a.Config.DPServer.Authn.DPProxy.DPToken.Validator.UseSecrets {
		warnings = append(warnings, settings.WarnUnusable)
	}
	return strings.Join(warnings, "; ")
}

func (a *API) checkTokenMesh(ctx context.Context, name string) error {
	mesh, err := a.Registry.Find(ctx, policy.Key{Type: policy.TypeMesh, Name: name})
	if err == nil && mesh == nil {
		err = mistake.New(mistake.MeshMissing, problem.Parameter("mesh", fmt.Sprintf("there is no mesh %q", name)))
	}
	return err
}

// readTokenRequest reads what token is asked for, and what is to be in it.
func readTokenRequest(body io.Reader) (req tokenRequest, wanted token.Claims, err error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return req, wanted, badBody(err)
	}
	if err := policy.Decode(data, &req); err != nil {
		return req, wanted, err
	}
	wanted, err = req.claims()
	return req, wanted, err
}

// claims is what is to be in the token.
func (req *tokenRequest) claims() (token.Claims, error) {
	life := token.MaxLife
	if req.ValidFor != "" {
		given, err := time.ParseDuration(req.ValidFor)
		if err != nil {
			return token.Claims{}, problem.Parameter("validFor", fmt.Sprintf("%q is no duration; write one such as 720h or 30m", req.ValidFor))
		}
		life = given
	}
	return token.Request{Name: req.Name, Mesh: req.Mesh, Type: req.Type, Tags: req.Tags, Life: life}.Claims(time.Now())
}
