package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"koguma/policy"
)

const (
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 64 << 20
	// warningHeader carries what a control plane wants people to know where the body has no place for it.
	warningHeader = "Koguma-Warning"
	// versionHeader carries the version of the store with which a resource was written, or read.
	versionHeader = "Koguma-Version"
)

// client speaks to the API of one control plane.
type client struct {
	target target
	base   *url.URL
	http   *http.Client
	agent  string
	log    *slog.Logger
	warn   func(format string, args ...any) // shows what the control plane wants people to know
	force  bool                             // a Mesh is put although that cuts somebody off

	version uint64 // of the store, with which the resource is there that the last answer was about; 0 if it does not say
}

// client is that of the control plane that the user chose.
func (c *cli) client() (*client, error) {
	cfg, err := c.readConfig()
	if err != nil {
		return nil, err
	}
	if path, _, err := c.configPath(); err == nil && !c.noConfig {
		if mode := readers(path, cfg); mode != 0 {
			c.warn("%s has headers in it, which others on this machine may read by its mode %04o: chmod 600 %s", path, mode, path)
		}
	}
	t, err := cfg.target(c.context)
	if err != nil {
		return nil, err
	}
	return c.clientOf(t)
}

func (c *cli) clientOf(t target) (*client, error) {
	transport, err := c.transport(t)
	if err != nil {
		return nil, err
	}
	base, err := parseAddress(t.URL)
	if err != nil {
		return nil, err
	}
	return &client{
		target: t,
		base:   base,
		http: &http.Client{
			Transport: transport,
			Timeout:   c.timeout,
			// No control plane redirects, and what is sent is meant for nobody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		agent: readBuild().userAgent(),
		log:   c.logger(),
		warn:  c.warn,
	}, nil
}

// problem is how a control plane says what went wrong.
type problem struct {
	Status  int    `json:"status"`
	Title   string `json:"title"`
	Detail  string `json:"detail"`
	Invalid []struct {
		Field  string `json:"field"`
		Reason string `json:"reason"`
	} `json:"invalid_parameters"`
	Code string `json:"code"` // of a mistake; "" if it is none, or the control plane is older than that
}

func (p *problem) Error() string {
	s := p.Title
	if p.Detail != "" {
		s += " (" + p.Detail + ")"
	}
	for _, i := range p.Invalid {
		s += bullet(i.Field, i.Reason)
	}
	return s
}

// bullet is a line of its own for a field that is wrong.
func bullet(field, reason string) string {
	return "\n* " + strings.TrimPrefix(field+": ", ": ") + reason
}

// isNotFound reports whether the control plane said that the resource does not exist. That its mesh does not is another
// error, with a title of its own.
func isNotFound(err error) bool {
	p, ok := errors.AsType[*problem](err)
	return ok && p.Status == http.StatusNotFound && p.Title != "Failed to retrieve Mesh"
}

// call sends a request and decodes the answer, which must be JSON, into out.
func (c *client) call(ctx context.Context, method, path string, query url.Values, in, out any) (status int, err error) {
	status, answer, err := c.send(ctx, method, path, query, in)
	if err != nil {
		return status, err
	}
	if err := policy.DecodeOpen(answer, out); err != nil {
		return status, c.away(fmt.Errorf("%s%s does not answer as a control plane does: %w", c.base, path, err))
	}
	return status, nil
}

// yaml is a body that is sent as it is.
type yaml []byte

// newRequest has in, unless it is nil, as its JSON body.
func (c *client) newRequest(ctx context.Context, method, path string, query url.Values, in any) (*http.Request, error) {
	var body io.Reader
	content := "application/json"
	switch in := in.(type) {
	case nil:
	case yaml:
		body, content = bytes.NewReader(in), "application/yaml"
	default:
		text, err := policy.Encode(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	address := strings.TrimSuffix(c.base.String(), "/") + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.agent)
	if in != nil {
		req.Header.Set("Content-Type", content)
	}
	return req, nil
}

// send makes a request and does it.
func (c *client) send(ctx context.Context, method, path string, query url.Values, in any) (status int, answer []byte, err error) {
	req, err := c.newRequest(ctx, method, path, query, in)
	if err != nil {
		return 0, nil, err
	}
	return c.do(req)
}

// do sends a request and reads the answer. One that is no success is an error, as [readProblem] makes it.
func (c *client) do(req *http.Request) (status int, answer []byte, err error) {
	begin := time.Now()
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, c.explain(err)
	}
	defer res.Body.Close()
	c.log.Debug("asked", "method", req.Method, "url", req.URL, "status", res.StatusCode, "took", time.Since(begin))
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	for _, w := range res.Header.Values(warningHeader) {
		c.warn("%s", w)
	}
	switch {
	case err != nil:
		return 0, nil, c.explain(err)
	case len(answer) > maxAnswer:
		return 0, nil, fmt.Errorf("%s answered with more than %d MiB", req.URL, maxAnswer>>20)
	case res.StatusCode < 200 || res.StatusCode > 299:
		return res.StatusCode, nil, c.mistaken(readProblem(res, answer))
	}
	c.version, _ = strconv.ParseUint(res.Header.Get(versionHeader), 10, 64)
	return res.StatusCode, answer, nil
}

// readProblem is the [problem] in the answer, or says that this is no answer of a control plane.
func readProblem(res *http.Response, answer []byte) error {
	p := new(problem)
	if err := policy.DecodeOpen(answer, p); err != nil || p.Title == "" {
		u := res.Request.URL
		return &noProblem{fmt.Errorf("%s://%s%s answers %s, but not as a control plane does", u.Scheme, u.Host, u.Path, res.Status)}
	}
	p.Status = res.StatusCode
	return p
}

// explain says of an error of the network what the user can do about it.
func (c *client) explain(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // the rest repeats the address
	}
	if e := c.target.explainTLS(err); e != nil {
		return e
	}
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.Is(err, syscall.ECONNREFUSED):
		return c.refused(fmt.Errorf("no control plane answers at %s: connection refused\n"+
			"Start one with 'kuma-cp run', or name another with 'kumactl config control-planes add --name NAME --address URL'", c.base))
	case os.IsTimeout(err):
		return c.away(fmt.Errorf("the control plane at %s did not answer within %v (--api-timeout)", c.base, c.http.Timeout))
	default:
		return c.away(fmt.Errorf("cannot reach the control plane at %s: %w", c.base, err))
	}
}

// listPath is the path of all resources of the kind.
func listPath(kind policy.Kind, mesh string) (string, error) {
	if !kind.InMesh {
		return "/" + kind.Path, nil
	}
	path, err := meshPath(mesh)
	return path + "/" + kind.Path, err
}

// meshPath is the path of a mesh.
func meshPath(mesh string) (string, error) {
	if err := policy.ValidMeshName(mesh); err != nil {
		return "", fmt.Errorf("mesh %q: %w", mesh, err)
	}
	return "/meshes/" + mesh, nil
}

// pathOf is the path of one resource.
func pathOf(kind policy.Kind, mesh, name string) (string, error) {
	path, err := listPath(kind, mesh)
	if err != nil {
		return "", err
	}
	if err := policy.ValidName(name); err != nil {
		return "", fmt.Errorf("%s %q: %w", kind.Type, name, err)
	}
	return path + "/" + name, nil
}

// index is what a control plane says of itself.
type index struct {
	Product string `json:"product"`
	Version string `json:"version"`
}

func (c *client) index(ctx context.Context) (index, error) {
	var i index
	_, err := c.call(ctx, http.MethodGet, "/", nil, nil, &i)
	return i, err
}

// get reads one resource.
func (c *client) get(ctx context.Context, kind policy.Kind, mesh, name string) (policy.Resource, error) {
	path, err := pathOf(kind, mesh, name)
	if err != nil {
		return nil, err
	}
	r := policy.New(kind.Type)
	_, err = c.call(ctx, http.MethodGet, path, nil, nil, r)
	return r, err
}

// page is a part of a list. Next is the address of the part that follows, if one does.
type page[T any] struct {
	Total int     `json:"total"`
	Items []T     `json:"items"`
	Next  *string `json:"next"`
}

// list reads a part of the resources of a kind. Next is the offset of the part that follows, "" if none does.
func (c *client) list(ctx context.Context, kind policy.Kind, mesh string, query url.Values) (items []policy.Resource, total int, next string, err error) {
	path, err := listPath(kind, mesh)
	if err != nil {
		return nil, 0, "", err
	}
	var p page[any]
	if _, err := c.call(ctx, http.MethodGet, path, query, nil, &p); err != nil {
		return nil, 0, "", err
	}
	items = make([]policy.Resource, len(p.Items))
	for i, item := range p.Items {
		items[i] = policy.New(kind.Type)
		text, err := policy.Encode(item)
		if err == nil {
			err = policy.DecodeOpen(text, items[i])
		}
		if err != nil {
			return nil, 0, "", fmt.Errorf("item %d of %s: %w", i+1, path, err)
		}
	}
	return items, p.Total, p.offset(), nil
}

// offset is where the next page begins, "" if there is none.
func (p *page[T]) offset() string {
	if p.Next == nil {
		return ""
	}
	u, err := url.Parse(*p.Next)
	if err != nil {
		return ""
	}
	return u.Query().Get("offset")
}

// allPages reads a whole list.
func allPages[T any](ctx context.Context, c *client, path string) ([]T, error) {
	all := []T{}
	query := url.Values{"size": {"1000"}} // the most there is on a page
	for {
		var p page[T]
		if _, err := c.call(ctx, http.MethodGet, path, query, nil, &p); err != nil {
			return nil, err
		}
		all = append(all, p.Items...)
		next := p.offset()
		if next == "" || next == query.Get("offset") || len(p.Items) == 0 {
			return all, nil
		}
		query.Set("offset", next)
	}
}

// put creates or replaces a resource, and shows the control plane's warnings.
func (c *client) put(ctx context.Context, kind policy.Kind, r policy.Resource) (created bool, err error) {
	path, err := pathOf(kind, r.Metadata().Mesh, r.Metadata().Name)
	if err != nil {
		return false, err
	}
	var answer struct {
		Warnings []string `json:"warnings"`
	}
	var query url.Values
	if c.force && kind.Type == policy.TypeMesh {
		query = url.Values{"force": {"true"}}
	}
	status, err := c.call(ctx, http.MethodPut, path, query, r, &answer)
	for _, w := range answer.Warnings {
		c.warn("%s", w)
	}
	return status == http.StatusCreated, err
}

// delete deletes a resource; by force also what the control plane would rather keep.
func (c *client) delete(ctx context.Context, kind policy.Kind, mesh, name string, force bool) error {
	path, err := pathOf(kind, mesh, name)
	if err != nil {
		return err
	}
	var query url.Values
	if force {
		query = url.Values{"force": {"true"}}
	}
	_, _, err = c.send(ctx, http.MethodDelete, path, query, nil)
	return err
}
