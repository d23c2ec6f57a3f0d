package cp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"koguma/policy"
	"koguma/token"
)

// issuer makes data plane tokens.
type issuer interface {
	// Issue signs with the newest key of the mesh that the claims name, and tells its id, or returns ErrNoSigningKey.
	Issue(ctx context.Context, c token.Claims) (raw token.Raw, kid string, err error)
}

// ErrNoSigningKey says that a mesh has no key that could sign a token.
var ErrNoSigningKey = errors.New("there is no signing key")

const (
	// maxTokenLife is the longest that a token lives, and how long it does if nobody says.
	maxTokenLife = 10 * 365 * 24 * time.Hour
	// maxTokenTags bounds the tags in a token, in bytes of JSON: a token travels in a header.
	maxTokenTags = 4 << 10
	// warningHeader carries what kumactl shows to whoever asked.
	warningHeader = "Koguma-Warning"
)

// tokenRequest is the body of POST /tokens/dataplane.
type tokenRequest struct {
	Name     string              `json:"name"`
	Mesh     string              `json:"mesh"`
	Tags     map[string][]string `json:"tags"`
	Type     string              `json:"type"`
	ValidFor string              `json:"validFor"` // as Go writes durations; "" is maxTokenLife
}

func (a *api) issueToken(r *http.Request) (answer, error) {
	return a.issue(r, func(*tokenRequest) error { return nil })
}

// issue answers with the token that the body asks for, if allow has nothing against it.
func (a *api) issue(r *http.Request, allow func(*tokenRequest) error) (answer, error) {
	if ok, setting := a.cfg.issues(); !ok {
		return answer{}, refuse(http.StatusNotFound, "Not found", "this control plane issues no tokens, because "+setting+
			" is false; make them with kumactl generate dataplane-token --signing-key-path FILE --kid ID")
	}
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	req, life, err := readTokenRequest(r.Body)
	if err != nil {
		return answer{}, err
	}
	if err := allow(&req); err != nil {
		return answer{}, err
	}
	if err := a.checkTokenMesh(r.Context(), req.Mesh); err != nil {
		return answer{}, err
	}
	raw, kid, err := a.issuer.Issue(r.Context(), token.Claims{
		Name: req.Name, Mesh: req.Mesh, Tags: req.Tags, Type: req.Type, ExpiresAt: time.Now().Add(life),
	})
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
func (a *api) tokenWarning(req *tokenRequest, claims token.Claims) string {
	var warnings []string
	if req.ValidFor == "" {
		warnings = append(warnings, "the token is valid for 10 years, because no validity was given; give one, such as 720h")
		a.log.Warn("a token was issued for 10 years, because the request gave no validity", "mesh", req.Mesh, "jti", claims.ID)
	}
	if !a.cfg.DPServer.Authn.DPProxy.DPToken.Validator.UseSecrets {
		warnings = append(warnings, warnUnusable)
	}
	return strings.Join(warnings, "; ")
}

func (a *api) checkTokenMesh(ctx context.Context, name string) error {
	mesh, err := a.resources.find(ctx, policy.Key{Type: policy.TypeMesh, Name: name})
	if err == nil && mesh == nil {
		err = parameter("mesh", fmt.Sprintf("there is no mesh %q", name))
	}
	return err
}

// readTokenRequest reads what token is asked for, and how long it should live.
func readTokenRequest(body io.Reader) (req tokenRequest, life time.Duration, err error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return req, 0, badBody(err)
	}
	if err := policy.Decode(data, &req); err != nil {
		return req, 0, err
	}
	life, err = req.check()
	return req, life, err
}

// check makes the tags canonical, and is how long the token should live.
func (req *tokenRequest) check() (time.Duration, error) {
	var bad policy.Invalid
	add := func(field string, err error) {
		if err != nil {
			bad.Fields = append(bad.Fields, policy.FieldError{Field: field, Reason: err.Error()})
		}
	}
	if req.Name != "" {
		add("name", policy.ValidName(req.Name))
	}
	add("mesh", policy.ValidMeshName(req.Mesh))
	switch req.Type {
	case "", token.TypeDataplane, token.TypeIngress, token.TypeEgress:
	default:
		add("type", fmt.Errorf("must be %s, %s or %s", token.TypeDataplane, token.TypeIngress, token.TypeEgress))
	}
	for key, values := range req.Tags {
		field := fmt.Sprintf("tags[%q]", key)
		add(field, policy.ValidTagKey(key))
		if len(values) == 0 {
			add(field, errors.New("must have a value: without one it fits nothing"))
		}
		for _, v := range values {
			add(field, policy.ValidTagValue(v))
		}
		values = slices.Clone(values)
		slices.Sort(values)
		req.Tags[key] = slices.Compact(values)
	}
	if data, err := policy.Encode(req.Tags); err != nil || len(data) > maxTokenTags {
		add("tags", fmt.Errorf("must be at most %d bytes of JSON", maxTokenTags))
	}
	life, err := parseLife(req.ValidFor)
	add("validFor", err)
	if bad.Fields != nil {
		return 0, &bad
	}
	return life, nil
}

// parseLife reads how long a token should be valid.
func parseLife(text string) (time.Duration, error) {
	if text == "" {
		return maxTokenLife, nil
	}
	life, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no duration; write one such as 720h or 30m", text)
	case life < time.Second:
		return 0, errors.New("must be at least 1s: such a token would be of no use")
	case life > maxTokenLife:
		return 0, fmt.Errorf("must be at most %v, which is 10 years", maxTokenLife)
	}
	return life, nil
}
