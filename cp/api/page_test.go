package api_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// listPage is a page of a list.
type listPage struct {
	Total int
	Items []struct{ Mesh, Name string }
	Next  *string
}

// next is the path and query of the next page.
func (l *listPage) next(t *testing.T) string {
	t.Helper()
	if l.Next == nil {
		t.Fatal("there is no next page")
	}
	path, ok := strings.CutPrefix(*l.Next, "http://localhost:5681")
	if !ok {
		t.Fatalf("the next page is elsewhere: %s", *l.Next)
	}
	return path
}

func (l *listPage) names() string {
	var names []string
	for _, i := range l.Items {
		names = append(names, strings.TrimPrefix(i.Mesh+"/"+i.Name, "default/"))
	}
	return strings.Join(names, " ")
}

// From page to page nothing is passed over and nothing comes twice, whatever comes and goes in between.
func TestPages(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/a", `{"type":"Mesh","name":"a"}`)
	for _, name := range []string{"b", "d", "f", "h", "j"} {
		s.mustPut("/meshes/default/dataplanes/"+name, dataplaneJSON(name, "web"))
		s.mustPut("/meshes/a/dataplanes/"+name, strings.Replace(dataplaneJSON(name, "web"), `"default"`, `"a"`, 1))
	}
	for _, path := range []string{"/dataplanes?size=3", "/dataplanes/_overview?size=3", "/dataplanes?size=3&name=&tag=kuma.io%2Fservice%3Aweb"} {
		var l listPage
		s.getJSON(path, &l)
		if l.names() != "a/b a/d a/f" || l.Total != 10 {
			t.Errorf("%s: %+v", path, l)
		}
		s.send(request{method: "DELETE", path: "/meshes/a/dataplanes/b"})
		s.send(request{method: "DELETE", path: "/meshes/a/dataplanes/f"}) // the last on the page
		s.mustPut("/meshes/a/dataplanes/e", strings.Replace(dataplaneJSON("e", "web"), `"default"`, `"a"`, 1))
		s.mustPut("/meshes/a/dataplanes/i", strings.Replace(dataplaneJSON("i", "web"), `"default"`, `"a"`, 1))
		var second, third, fourth listPage
		s.getJSON(l.next(t), &second)
		s.getJSON(second.next(t), &third)
		s.getJSON(third.next(t), &fourth)
		if got := second.names() + ", " + third.names() + ", " + fourth.names(); got != "a/h a/i a/j, b d f, h j" || fourth.Next != nil {
			t.Errorf("%s: %s, next %v", path, got, fourth.Next)
		}
		for _, name := range []string{"e", "i"} {
			s.send(request{method: "DELETE", path: "/meshes/a/dataplanes/" + name})
		}
		for _, name := range []string{"b", "f"} {
			s.mustPut("/meshes/a/dataplanes/"+name, strings.Replace(dataplaneJSON(name, "web"), `"default"`, `"a"`, 1))
		}
	}
}

// Where a page ends is said of one list, and is not taken for a place in another.
func TestOffsetIsOfOneList(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for i := range 4 {
		name := fmt.Sprintf("dp-%d", i)
		s.mustPut("/meshes/default/dataplanes/"+name, dataplaneJSON(name, "web"))
	}
	var l listPage
	s.getJSON("/meshes/default/dataplanes?name=dp&size=2", &l)
	u, err := url.Parse(*l.Next)
	if err != nil {
		t.Fatal(err)
	}
	offset := u.Query().Get("offset")
	for _, path := range []string{"/meshes/default/dataplanes?size=2", "/meshes/default/dataplanes?name=d", "/dataplanes?name=dp", "/meshes?name=dp"} {
		s.get(path+"&offset="+offset).WantProblem(t, 400, "another list")
	}
	s.getJSON("/meshes/default/dataplanes?size=1&name=dp&offset="+offset, &l) // another size is the same list
	if l.names() != "dp-2" {
		t.Error(l.names())
	}
	s.get("/meshes/default/dataplanes?name=dp&offset="+offset[:8]).WantProblem(t, 400, "offset")
}

// Who came by TLS is not sent elsewhere for the next page.
func TestNextPageUnderTLS(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/a", `{"type":"Mesh","name":"a"}`)
	r := httptest.NewRequest("GET", "/meshes?size=1", nil)
	r.Host, r.TLS = "cp:5682", &tls.ConnectionState{}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	var l listPage
	if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || l.Next == nil || !strings.HasPrefix(*l.Next, "https://cp:5682/meshes?") {
		t.Errorf("%v %s", err, w.Body)
	}
}
