// Package api is the HTTP API of a control plane: what people and programs write, read and ask.
//
// An [API] owns no state. Writes go through the registry; what became of the proxies it asks its [Fleet]. Every route says who may
// use it, and one that does not is closed.
package api

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"

	"koguma/cp/problem"
	"koguma/cp/registry"
	"koguma/cp/settings"
	"koguma/gui"
	"koguma/mistake"
	"koguma/policy"
	"koguma/token"
)

// retryAfter is when to ask again where the store does not answer, in seconds: it is back by itself.
const retryAfter = "5"

// MaxBody is the most that a request may send, but for that which puts a Secret.
const MaxBody = 1 << 20

// API is the HTTP API: the one that kumactl talks to, and that of the admin server.
type API struct {
	Config     settings.Config
	Shown      any // the configuration as it is shown
	Registry   registry.Registry
	Issuer     Issuer
	Rotator    Rotator
	Fleet      Fleet
	GUI        *gui.Server
	Refused    func() []gui.Refusal // the newest refusals of proxies, the newest first
	Strangers  *Strangers
	Log        *slog.Logger
	InstanceID string
	Version    string     // of this program
	DPPort     int        // where the DP server listens
	AdminPort  int        // where the admin server listens
	PublicPort int        // where it listens for other machines; 0 if it does not
	revoking   sync.Mutex // one after the other, so that many at once do not wear each other out
}

// Watcher knows what became of the proxies.
type Watcher interface {
	// Insight is what was seen of the proxy of a Dataplane.
	Insight(key policy.Key) policy.DataplaneInsight
	Bearers
	Witness
}

// Route is one method of one path.
type Route struct {
	Method string
	Path   string // as [http.ServeMux] has it, without the method
	access access
	title  string // of the problem when it fails
	handle func(*http.Request) (answer, error)
}

// Open reports whether everybody may.
func (r Route) Open() bool { return r.access == everybody }

// Guarded reports whether administrators may, and nobody else.
func (r Route) Guarded() bool {
	return r.access == administrators || r.access == administratorsUnaudited
}

// answer is what a route has to say when all went well.
type answer struct {
	status  int                       // 0 is 200
	body    any                       // sent as JSON
	token   token.Raw                 // sent as it is, in the place of body
	send    func(http.ResponseWriter) // sends the answer, in the place of body and status; nil for most
	warning string                    // for the people at the other end
	version uint64                    // of the store, with which what was done is there; 0: that was not asked
	etag    string                    // of the resource that was read or written; "": there is none
	audit   []any                     // what the audit log should have besides the path: keys and values
}

// Handler serves these routes.
func (a *API) Handler(routes []Route) http.Handler {
	paths := map[string]map[string]Route{}
	for _, r := range routes {
		if paths[r.Path] == nil {
			paths[r.Path] = map[string]Route{}
		}
		paths[r.Path][r.Method] = r
	}
	mux := http.NewServeMux()
	for path, methods := range paths {
		mux.Handle(path, a.serve(methods))
	}
	mux.Handle("/", a.serve(nil))
	return a.guard(mux)
}

// Routes is everything that the API can do.
func (a *API) Routes() []Route {
	routes := []Route{
		{"GET", "/{$}", everybody, "Could not retrieve the index", a.index},
		{"GET", "/catalog", everybody, "Could not retrieve the catalog", a.catalog},
		{"GET", "/config", everybody, "Could not retrieve the configuration", a.config},
		{"GET", "/_resources", everybody, "Could not retrieve the types of resources", a.listTypes},
		{"GET", "/policies", everybody, "Could not retrieve the types of policies", a.listPolicyTypes},
		{"GET", "/who-am-i", everybody, "Could not find out who you are", a.whoAmI},
		{"GET", "/control-planes", administratorsUnaudited, "Could not retrieve the control planes", a.listControlPlanes},
		{"POST", "/tokens/dataplane", administrators, "Could not issue a token", a.issueToken},
		{"POST", "/dry-run", administrators, "Could not try a dry run", a.postDryRun},
		{"POST", "/tokens/dataplane/revocations", administrators, "Could not revoke the tokens", a.revokeTokens},
		{"GET", "/meshes/{mesh}/dataplane-tokens", administratorsUnaudited, "Could not retrieve the tokens", a.listTokens},
		{"GET", "/meshes/{mesh}/signing-keys", administratorsUnaudited, "Could not retrieve the signing keys", a.listSigningKeys},
		{"POST", "/meshes/{mesh}/signing-keys", administrators, "Could not make a signing key", a.makeSigningKey},
		{"GET", "/meshes/{mesh}/trust", everybody, "Could not retrieve the trust of the mesh", a.getTrust},
		{"POST", "/meshes/{mesh}/trust/rotate", administrators, "Could not rotate the CA", a.rotateTrust},
		{"GET", "/meshes/{mesh}/_mtls", everybody, "Could not retrieve the state of mTLS", a.mtls},
		{"GET", "/meshes/{mesh}/connections", everybody, "Could not explain the connection", a.getConnection},
		{"GET", "/meshes/{mesh}/_delivery", everybody, "Could not retrieve the delivery", a.getDelivery},
		{"GET", "/meshes/{mesh}/dataplanes/_overview", everybody, "Could not retrieve dataplane overviews", a.listOverviews},
		{"GET", "/meshes/{mesh}/dataplanes/{name}/_overview", everybody, "Could not retrieve a dataplane overview", a.getOverview},
		{"GET", "/dataplanes/_overview", everybody, "Could not retrieve dataplane overviews", a.listOverviews},
		{"GET", "/meshes/{mesh}/dataplanes+insights", everybody, "Could not retrieve dataplane overviews", a.listOverviews},
		{"GET", "/meshes/{mesh}/dataplanes+insights/{name}", everybody, "Could not retrieve a dataplane overview", a.getOverview},
		{"GET", "/meshes/{mesh}/dataplanes/{name}/_identity", everybody, "Could not retrieve the identity of a dataplane", a.getIdentity},
	}
	routes = append(append(append(routes, a.insightRoutes()...), a.matchRoutes()...), a.guiRoutes()...)
	for _, k := range policy.Kinds() {
		for _, path := range k.Paths() {
			routes = append(routes, a.kindRoutes(k, path)...)
		}
	}
	return routes
}

// kindRoutes are those of the resources of a kind, at one of its paths.
func (a *API) kindRoutes(k policy.Kind, path string) []Route {
	var routes []Route
	read, all := everybody, "/"+path
	if k.Secret {
		read = administrators
	}
	if k.InMesh {
		routes = append(routes, Route{"GET", all, read, "Could not retrieve resources", a.list(k)})
		all = "/meshes/{mesh}/" + path
	}
	one := all + "/{name}"
	return append(routes,
		Route{"GET", all, read, "Could not retrieve resources", a.list(k)},
		Route{"GET", one, read, "Could not retrieve a resource", a.get(k)},
		Route{"PUT", one, administrators, "Could not process a resource", a.put(k)},
		Route{"DELETE", one, administrators, "Could not delete a resource", a.delete(k)},
	)
}

// guard lets only requests through that name a path in the one way there is to write it: nothing is cleaned up,
// decoded or redirected, so that access to a path cannot depend on its spelling. It also catches what panics.
func (a *API) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				a.Log.Error("panic in the API", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				a.turnAway(w, r, problemOf("", fmt.Errorf("panic: %v", p)))
			}
		}()
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case r.Method == http.MethodConnect: // the mux would look for something else than the path
			a.turnAway(w, r, methodNotAllowed(r))
		case !plain(r.URL):
			a.turnAway(w, r, problem.Refuse(http.StatusBadRequest, "Bad path", "the path has escapes, empty parts, or dots; write it plainly"))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// plain reports whether the path needs no decoding and no cleaning. A slash at its end is for the mux to refuse.
func plain(u *url.URL) bool {
	clean := path.Clean("/" + u.Path)
	return u.RawPath == "" && (u.Path == clean || clean != "/" && u.Path == clean+"/")
}

// serve answers for one path; without methods it is a path that does not exist.
func (a *API) serve(methods map[string]Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet // the server keeps the body back
		}
		rt, ok := methods[method]
		switch {
		case methods == nil:
			a.turnAway(w, r, problem.Refuse(http.StatusNotFound, "Not found", "there is nothing at this path"))
			return
		case !ok:
			w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(methods)), ", "))
			a.turnAway(w, r, methodNotAllowed(r))
			return
		}
		if method == http.MethodGet {
			warn(w, a.stale())
		}
		who := a.identify(r)
		r.Body = http.MaxBytesReader(w, r.Body, rt.maxBody())
		ans, err := rt.do(r, who)
		if err == nil {
			err = ans.write(w)
		}
		status, reason := ans.status, ""
		if err != nil {
			p := problemOf(rt.title, err)
			status, reason = p.Status, err.Error()
			a.fail(w, r, p)
			if status >= 500 {
				a.Log.Error("the API failed", "method", r.Method, "path", r.URL.Path, "error", err)
			}
		}
		if rt.access == administrators {
			a.audit(r, who, ans.audit, status, reason)
		}
	})
}

func (rt *Route) maxBody() int64 {
	if rt.Method == http.MethodPut && rt.Path == "/meshes/{mesh}/secrets/{name}" || rt.Path == "/dry-run" {
		return policy.MaxSecret
	}
	return MaxBody
}

// do is the route for a caller, if the caller may.
func (rt *Route) do(r *http.Request, who caller) (answer, error) {
	if !rt.access.allows(who) {
		return answer{}, mistake.New(mistake.ReadOnly, problem.Refuse(http.StatusForbidden, "Access Denied", deniedDetail(r)))
	}
	if rt.Method == http.MethodPut || rt.Method == http.MethodPost {
		if err := checkContent(r, rt.maxBody()); err != nil {
			return answer{}, err
		}
	}
	ans, err := rt.handle(r)
	if err == nil && ans.status == 0 {
		ans.status = http.StatusOK
	}
	return ans, err
}

// deniedDetail says what to do next to somebody who may have a right to it.
func deniedDetail(r *http.Request) string {
	return fmt.Sprintf("%s %s is for administrators: call it with a client certificate, "+
		"or on the machine of the control plane as http://localhost, and neither through a proxy nor from a web page", r.Method, r.URL.Path)
}

// checkContent refuses bodies that say they are something else. It also keeps a web page from sending one without the
// browser asking us first: a form cannot have these types.
func checkContent(r *http.Request, limit int64) error {
	if r.ContentLength > limit {
		return &http.MaxBytesError{Limit: limit}
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return problem.Refuse(http.StatusUnsupportedMediaType, "Unsupported content encoding", "send the body as it is, without Content-Encoding")
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" && media != "application/yaml" {
		return problem.Refuse(http.StatusUnsupportedMediaType, "Unsupported content type", "set Content-Type to application/json or application/yaml")
	}
	return nil
}

// write sends the answer. An error means that nothing was sent yet.
func (ans *answer) write(w http.ResponseWriter) error {
	warn(w, ans.warning)
	if ans.version > 0 {
		w.Header().Set(versionHeader, strconv.FormatUint(ans.version, 10))
	}
	if ans.etag != "" {
		w.Header().Set("ETag", ans.etag)
	}
	w.Header().Set("Cache-Control", "no-store")
	if ans.send != nil {
		ans.send(w)
		return nil
	}
	if ans.token != "" {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(ans.status)
		io.WriteString(w, string(ans.token))
		return nil
	}
	data, err := policy.Encode(ans.body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(ans.status)
	w.Write(data)
	return nil
}

// fail sends a problem.
func (a *API) fail(w http.ResponseWriter, r *http.Request, p *problem.Problem) {
	data, err := policy.Encode(p)
	if err != nil {
		a.Log.Error("a problem that cannot be said", "path", r.URL.Path, "error", err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(p.Status)
	w.Write(data)
}

func methodNotAllowed(r *http.Request) *problem.Problem {
	return problem.Refuse(http.StatusMethodNotAllowed, "Method not allowed", r.Method+" is not possible here")
}
