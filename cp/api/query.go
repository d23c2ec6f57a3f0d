package api

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"koguma/cp/problem"
	"koguma/policy"
)

// query says which resources of a list to answer with.
type query struct {
	size, offset int
	after        string              // the place after which the page begins; "" goes by the offset
	name         string              // part of the name
	tags         map[string][]string // for each key, the values that it must have at some inbound
	labels       map[string]string
	gateway      string     // of Dataplanes: one of those of parseGateway, "" for any
	values       url.Values // as it was asked, for the next page
}

// parseQuery reads the query of a list of resources of that type, or of something else for "".
func parseQuery(r *http.Request, of policy.Type) (query, error) {
	q := query{size: DefaultPage}
	dataplanes := of == policy.TypeDataplane
	var err error
	if q.values, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return q, problem.Parameter("query", "cannot be read: "+err.Error())
	}
	for name, values := range q.values {
		if len(values) > 1 && name != "tag" {
			return q, problem.Parameter(name, "is given more than once")
		}
		switch {
		case name == "size":
			q.size, err = number(name, values[0], 1, MaxPage)
		case name == "offset":
			err = q.parseOffset(r, values[0])
		case name == "name":
			q.name = values[0]
		case name == "tag" && dataplanes:
			q.tags, err = parseTags(values)
		case name == "gateway" && dataplanes:
			q.gateway, err = parseGateway(values[0])
		case of != "" && strings.HasPrefix(name, "filter[labels.") && strings.HasSuffix(name, "]"):
			if q.labels == nil {
				q.labels = map[string]string{}
			}
			q.labels[strings.TrimSuffix(strings.TrimPrefix(name, "filter[labels."), "]")] = values[0]
		default:
			err = problem.Parameter(name, "no such query parameter")
		}
		if err != nil {
			return q, err
		}
	}
	return q, nil
}

// noQuery refuses all query parameters.
func noQuery(r *http.Request) error {
	if r.URL.RawQuery != "" {
		return problem.Parameter("query", "there are no query parameters here")
	}
	return nil
}

// checkFormat is the query of a read: in which form somebody wants a resource, of which there is one.
func checkFormat(r *http.Request) error {
	switch r.URL.RawQuery {
	case "", "format=universal":
		return nil
	case "format=k8s", "format=kubernetes":
		return problem.Parameter("format", "there are no resources of Kubernetes here; leave it out")
	}
	return problem.Parameter("query", "the one query parameter here is format, which can be universal")
}

// parseForce is the query of a write: only the deletion of a secret and the change of a mesh can be forced.
func parseForce(r *http.Request, k policy.Kind) (bool, error) {
	forcible := r.Method == http.MethodDelete && k.Type == policy.TypeSecret || r.Method == http.MethodPut && k.Type == policy.TypeMesh
	switch {
	case !forcible || r.URL.RawQuery == "":
		return false, noQuery(r)
	case r.URL.RawQuery == "force=true":
		return true, nil
	case r.URL.RawQuery == "force=false":
		return false, nil
	}
	return false, problem.Parameter("query", "the one query parameter here is force, true or false")
}

func number(field, text string, low, high int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, problem.Parameter(field, fmt.Sprintf("must be a whole number from %d to %d", low, high))
	}
	return n, nil
}

func parseTags(values []string) (map[string][]string, error) {
	tags := map[string][]string{}
	for _, v := range values {
		key, value, ok := strings.Cut(v, ":")
		if !ok || key == "" || value == "" {
			return nil, problem.Parameter("tag", fmt.Sprintf("%q is not of the form key:value", v))
		}
		tags[key] = append(tags[key], value)
	}
	return tags, nil
}

func parseGateway(word string) (string, error) {
	if word != "true" && word != "false" && word != "delegated" && word != "builtin" {
		return "", problem.Parameter("gateway", "must be true, false, delegated or builtin")
	}
	return word, nil
}

// matches reports whether the query asks for r, pages aside.
func (q *query) matches(r policy.Resource) bool {
	if !q.inName(r.Metadata().Name) {
		return false
	}
	for key, value := range q.labels {
		if has, ok := r.Metadata().Labels[key]; !ok || has != value {
			return false
		}
	}
	d, ok := r.(*policy.Dataplane)
	if !ok {
		return true
	}
	isGateway := d.Networking.Gateway != nil
	switch {
	case q.gateway == "builtin", q.gateway == "false" && isGateway: // all gateways here are delegated ones
		return false
	case (q.gateway == "true" || q.gateway == "delegated") && !isGateway:
		return false
	}
	has := d.Tags()
	for key, values := range q.tags {
		for _, v := range values {
			if !slices.Contains(has[key], v) {
				return false
			}
		}
	}
	return true
}

// inName reports whether the query asks for what has this name.
func (q *query) inName(name string) bool { return strings.Contains(name, q.name) }

// change is the mesh that a request is to change, and puts what it says into req.
func (a *API) change(r *http.Request, req any) (mesh string, err error) {
	if a.Config.APIServer.ReadOnly {
		return "", methodNotAllowed(r)
	}
	mesh = r.PathValue("mesh")
	if err := a.checkMesh(r, mesh); err != nil {
		return "", err
	}
	if err := noQuery(r); err != nil {
		return "", err
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return "", badBody(err)
	}
	return mesh, policy.Decode(data, req)
}
