package api

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"koguma/cp/problem"
	"koguma/cp/registry"
	"koguma/policy"
	"koguma/store"
)

// putBody is the answer to a write.
type putBody struct {
	Warnings []string `json:"warnings,omitempty"`
}

// list answers for the resources of a kind, in the mesh that the path names or in all.
func (a *API) list(k policy.Kind) func(*http.Request) (answer, error) {
	return func(r *http.Request) (answer, error) {
		q, err := parseQuery(r, k.Type)
		if err != nil {
			return answer{}, err
		}
		rs, err := a.find(r, k.Type, q)
		if err != nil {
			return answer{}, err
		}
		return page(&q, r, rs, placeOf, func(r policy.Resource) any {
			if k.Secret {
				return withoutData(r) // a list is for finding a secret, not for having them all
			}
			return r
		}), nil
	}
}

// find is all resources that the query asks for, in the mesh that the path names or in all.
func (a *API) find(r *http.Request, t policy.Type, q query) ([]policy.Resource, error) {
	mesh := r.PathValue("mesh")
	if mesh != "" {
		if err := a.checkMesh(r, mesh); err != nil {
			return nil, err
		}
	}
	all, err := a.Registry.Store.List(r.Context(), t, mesh)
	if err != nil {
		return nil, err
	}
	var found []policy.Resource
	for _, r := range all {
		if q.matches(r) {
			found = append(found, r)
		}
	}
	return found, nil
}

func (a *API) get(k policy.Kind) func(*http.Request) (answer, error) {
	return func(r *http.Request) (answer, error) {
		key, err := a.keyOf(r, k)
		if err != nil {
			return answer{}, err
		}
		if err := checkFormat(r); err != nil {
			return answer{}, err
		}
		res, err := a.Registry.Store.Get(r.Context(), key)
		if err != nil {
			return answer{}, err
		}
		if k.Secret {
			hidden, err := a.Registry.Unreadable(r.Context(), key)
			if err != nil {
				return answer{}, err
			}
			if hidden {
				res = withoutData(res)
			}
		}
		version := res.Metadata().Version
		return answer{body: res, version: version, etag: registry.ETag(version)}, nil
	}
}

// writing is what a request that writes a resource says besides its body.
type writing struct {
	key        policy.Key
	dry, force bool
	only       registry.Precondition
}

func (a *API) parseWrite(r *http.Request, k policy.Kind) (w writing, err error) {
	if a.Config.APIServer.ReadOnly {
		return w, methodNotAllowed(r)
	}
	if w.key, err = a.keyOf(r, k); err != nil {
		return w, err
	}
	if w.dry, err = takeDryRun(r); err != nil {
		return w, err
	}
	if w.force, err = parseForce(r, k); err != nil {
		return w, err
	}
	w.only, err = registry.ParsePrecondition(r)
	return w, err
}

func (a *API) put(k policy.Kind) func(*http.Request) (answer, error) {
	return func(r *http.Request) (answer, error) {
		w, err := a.parseWrite(r, k)
		if err != nil {
			return answer{}, err
		}
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return answer{}, badBody(err)
		}
		parse := policy.Parse
		if k.Type == policy.TypeSecret {
			parse = policy.ParseSecret
		}
		res, err := parse(data)
		if err != nil {
			return answer{}, err
		}
		if err := checkIdentity(res, w.key); err != nil {
			return answer{}, err
		}
		if err := res.Validate(); err != nil {
			return answer{}, err
		}
		rs := a.Registry
		rs.Force, rs.Only = w.force, w.only
		if w.dry {
			return a.dryRun(r.Context(), func(rs registry.Registry) ([]string, error) {
				rs.Force, rs.Only = w.force, w.only
				out, err := rs.Put(r.Context(), res)
				return out.Warnings, err
			})
		}
		plaintext, err := a.stillPlaintext(r.Context(), res)
		if err != nil {
			return answer{}, err
		}
		out, err := rs.Put(r.Context(), res)
		if err != nil {
			return answer{}, err
		}
		out.Warnings = append(out.Warnings, plaintext...)
		return a.written(r, w.key, out), nil
	}
}

// written is the answer to a put.
func (a *API) written(r *http.Request, key policy.Key, out registry.Outcome) answer {
	ans := answer{status: http.StatusOK, body: putBody{out.Warnings}}
	if out.Created {
		ans.status = http.StatusCreated
	}
	if len(out.Cut) > 0 {
		ans.audit = []any{"force", strings.Join(out.Cut, "; ")}
	}
	if now, err := a.Registry.Store.Get(r.Context(), key); err == nil {
		ans.version = now.Metadata().Version
		if store.Same(now, out.Put) { // else it is somebody else's by now
			ans.etag = registry.ETag(ans.version)
		}
	}
	return ans
}

func (a *API) delete(k policy.Kind) func(*http.Request) (answer, error) {
	return func(r *http.Request) (answer, error) {
		w, err := a.parseWrite(r, k)
		if err != nil {
			return answer{}, err
		}
		if w.dry {
			return a.dryRun(r.Context(), func(rs registry.Registry) ([]string, error) {
				rs.Only = w.only
				return nil, rs.Delete(r.Context(), w.key, w.force)
			})
		}
		rs := a.Registry
		rs.Only = w.only
		if err := rs.Delete(r.Context(), w.key, w.force); err != nil {
			return answer{}, err
		}
		version, err := store.Version(r.Context(), a.Registry.Store)
		if err != nil {
			a.Log.Warn("something was deleted, and from which version on is not known", "path", r.URL.Path, "error", err)
		}
		return answer{body: putBody{}, version: version}, nil
	}
}

// keyOf is the key that the path names. The mesh in it exists, unless this is a PUT, which looks itself.
func (a *API) keyOf(r *http.Request, k policy.Kind) (policy.Key, error) {
	key := policy.Key{Type: k.Type, Mesh: r.PathValue("mesh"), Name: r.PathValue("name")}
	if err := policy.ValidName(key.Name); err != nil {
		return key, problem.Parameter("name", err.Error())
	}
	if k.InMesh {
		return key, a.checkMesh(r, key.Mesh)
	}
	return key, nil
}

// checkMesh refuses a mesh that is not there.
func (a *API) checkMesh(r *http.Request, mesh string) error {
	if err := policy.ValidMeshName(mesh); err != nil {
		return problem.Parameter("mesh", err.Error())
	}
	_, err := a.Registry.Mesh(r.Context(), mesh)
	return err
}

// checkIdentity refuses a body that is about something else than the path.
func checkIdentity(r policy.Resource, key policy.Key) error {
	var bad []policy.FieldError
	differ := func(field, body, path string) {
		if body != path {
			bad = append(bad, policy.FieldError{Field: field, Reason: fmt.Sprintf("the body says %q and the URL %q; make them the same", body, path)})
		}
	}
	m := r.Metadata()
	differ("type", string(m.Type), string(key.Type))
	differ("mesh", m.Mesh, key.Mesh)
	differ("name", m.Name, key.Name)
	if bad != nil {
		return &policy.Invalid{Fields: bad}
	}
	return nil
}

// withoutData is a secret without what it keeps.
func withoutData(r policy.Resource) policy.Resource {
	switch s := r.(type) {
	case *policy.Secret:
		return &policy.Secret{Meta: s.Meta}
	case *policy.GlobalSecret:
		return &policy.GlobalSecret{Meta: s.Meta}
	}
	return r
}

// badBody is why a body could not be read.
func badBody(err error) error {
	if _, ok := err.(*http.MaxBytesError); ok {
		return err
	}
	return problem.Refuse(http.StatusBadRequest, "Could not read the body", "the body broke off, or came too slowly")
}
