package api

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"koguma/cp/problem"
	"koguma/policy"
)

// The sizes of a page.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// listBody is one page of a list.
type listBody struct {
	Total int     `json:"total"`
	Items []any   `json:"items"`
	Next  *string `json:"next"`
}

// page is the part of a list that the query asks for, each item as show makes it. place is where an item stands: it grows
// along the list, and no two items have the same.
func page[T any](q *query, r *http.Request, all []T, place func(T) string, show func(T) any) answer {
	from := min(q.offset, len(all))
	if q.after != "" {
		if from = slices.IndexFunc(all, func(item T) bool { return place(item) > q.after }); from < 0 {
			from = len(all)
		}
	}
	to := min(from+q.size, len(all))
	body := listBody{Total: len(all), Items: []any{}}
	for _, item := range all[from:to] {
		body.Items = append(body.Items, show(item))
	}
	if to < len(all) {
		values := maps.Clone(q.values)
		values.Set("offset", q.marker(r, place(all[to-1])))
		u := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawQuery: values.Encode()}
		if r.TLS != nil {
			u.Scheme = "https"
		}
		next := u.String()
		body.Next = &next
	}
	return answer{body: body}
}

// placeOf is where a resource stands in a list of its type.
func placeOf(r policy.Resource) string { return placeIn(r.Metadata().Mesh, r.Metadata().Name) }

func placeIn(mesh, name string) string { return mesh + "\x00" + name }

// A marker is the offset of a next page. It says after which item the page begins, so that nothing is passed over or comes twice
// when something else comes or goes in between; and of which list, so that it is not mistaken for the marker of another.
const (
	markerPrefix = "k" // what begins with a digit is a number of items
	listIDSize   = 8
)

// marker is that of the page after the item at that place.
func (q *query) marker(r *http.Request, place string) string {
	return markerPrefix + base64.RawURLEncoding.EncodeToString(append(q.listID(r), place...))
}

// listID tells lists apart by their path and filters.
func (q *query) listID(r *http.Request) []byte {
	filters := maps.Clone(q.values)
	delete(filters, "size")
	delete(filters, "offset")
	sum := sha256.Sum256([]byte(r.URL.Path + "?" + filters.Encode()))
	return sum[:listIDSize]
}

// parseOffset reads where the page begins: after so many items, or at a marker.
func (q *query) parseOffset(r *http.Request, text string) (err error) {
	coded, ok := strings.CutPrefix(text, markerPrefix)
	if !ok {
		q.offset, err = number("offset", text, 0, 1<<31-1)
		return err
	}
	data, err := base64.RawURLEncoding.DecodeString(coded)
	if err != nil || len(data) <= listIDSize {
		return problem.Parameter("offset", "must be a number, or as the address of the next page has it")
	}
	if string(data[:listIDSize]) != string(q.listID(r)) {
		return problem.Parameter("offset", "it is that of another list, or of the same with other filters; begin again without it")
	}
	q.after = string(data[listIDSize:])
	return nil
}
