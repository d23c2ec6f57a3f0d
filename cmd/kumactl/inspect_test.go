package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
)

const overviews = `{"total":3,"next":null,"items":[
{"type":"DataplaneOverview","mesh":"default","name":"new","dataplane":{"networking":{"address":"127.0.0.1","inbound":[
  {"port":80,"tags":{"kuma.io/service":"new"}}]}},"dataplaneInsight":{}},
{"type":"DataplaneOverview","mesh":"default","name":"web-1","creationTime":"2026-01-01T00:00:00Z","aFieldOfTomorrow":1,
 "dataplane":{"networking":{"address":"127.0.0.1","inbound":[
  {"port":80,"tags":{"kuma.io/service":"web","version":"1"}},
  {"port":81,"state":"NotReady","tags":{"kuma.io/service":"web-admin","version":"1"}}]}},
 "dataplaneInsight":{
  "mTLS":{"certificateExpirationTime":"2026-01-03T03:04:05Z","lastCertificateRegeneration":"2026-01-02T03:00:00Z",
   "certificateRegenerations":2,"issuedBackend":"ca-1","supportedBackends":["ca-1","ca-2"]},
  "subscriptions":[
   {"id":"1","controlPlaneInstanceId":"cp","connectTime":"2026-01-01T00:00:00Z","disconnectTime":"2026-01-01T12:00:00Z",
    "status":{"total":{"responsesSent":"3","responsesAcknowledged":"3","responsesRejected":"0"}},"version":{"kumaDp":{},"envoy":{}}},
   {"id":"2","controlPlaneInstanceId":"cp","connectTime":"2026-01-02T02:04:05Z",
    "status":{"lastUpdateTime":"2026-01-02T03:04:00Z","total":{"responsesSent":"4","responsesAcknowledged":"3","responsesRejected":"1"},
     "lastRejection":"listener \u001b[31m: no"},
    "version":{"kumaDp":{"version":"1.2.3"},"envoy":{"version":"1.40.0"}}}]}},
{"type":"DataplaneOverview","mesh":"default","name":"gw","dataplane":{"networking":{"address":"127.0.0.1","gateway":{"tags":{"kuma.io/service":"gw"}}}},
 "dataplaneInsight":{"subscriptions":[{"id":"3","controlPlaneInstanceId":"cp","connectTime":"2026-01-01T00:00:00Z","disconnectTime":"2026-01-01T12:00:00Z",
  "status":{"total":{"responsesSent":"1","responsesAcknowledged":"1","responsesRejected":"0"}},"version":{"kumaDp":{},"envoy":{}}}]}}
]}`

func TestOverviewTable(t *testing.T) {
	t.Parallel()
	var p page[policy.DataplaneOverview]
	if err := policy.DecodeOpen([]byte(overviews), &p); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := overviewTable(p.Items, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)).write(&out); err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for line := range strings.Lines(out.String()) {
		got = append(got, split(line))
	}
	want := [][]string{
		{"MESH", "NAME", "TAGS", "STATUS", "LAST CONNECTED AGO", "LAST UPDATED AGO", "TOTAL UPDATES", "TOTAL ERRORS",
			"CERT REGENERATED AGO", "CERT EXPIRATION", "CERT REGENERATIONS", "CERT BACKEND", "SUPPORTED CERT BACKENDS",
			"KUMA-DP VERSION", "ENVOY VERSION", "NOTES"},
		{"default", "new", "kuma.io/service=new", "Offline", "never", "never", "0", "0", "never", "-", "0", "-", "-", "-", "-"},
		{"default", "web-1", "kuma.io/service=web,web-admin version=1", "Partially degraded", "1h", "5s", "7", "1",
			"4m", "2026-01-03 03:04:05", "2", "ca-1", "ca-1,ca-2", "1.2.3", "1.40.0",
			`inbound[port=81,svc=web-admin] is not ready; listener \x1b[31m: no`},
		{"default", "gw", "kuma.io/service=gw", "Offline", "1d", "never", "1", "0", "never", "-", "0", "-", "-", "-", "-"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// split cuts a line of a table at its padding.
func split(line string) []string {
	var cells []string
	for cell := range strings.SplitSeq(line, "   ") {
		if cell = strings.TrimSpace(cell); cell != "" {
			cells = append(cells, cell)
		}
	}
	return cells
}

func TestInspectFilters(t *testing.T) {
	t.Parallel()
	address := serve(t, map[string]string{"GET /meshes/default/dataplanes/_overview": overviews})
	tests := map[string]string{
		"":                "new web-1 gw",
		"--gateway":       "gw",
		"--tag version=1": "web-1",
		"--tag version=2": "",
		"--tag version=1 --tag kuma.io/service=x":         "",
		"--tag version=1 --tag kuma.io/service=web-admin": "web-1",
	}
	for args, want := range tests {
		got := kumactl(t, address, strings.Fields("inspect dataplanes "+args)...)
		if got.code != 0 {
			t.Fatal(got.stderr)
		}
		var names []string
		for _, line := range strings.Split(strings.TrimSpace(got.stdout), "\n")[1:] {
			names = append(names, split(line)[1])
		}
		if names := strings.Join(names, " "); names != want {
			t.Errorf("%q shows %q, want %q", args, names, want)
		}
	}
}

// All pages are read, and a control plane that always has one more does not keep us for ever.
func TestInspectPages(t *testing.T) {
	t.Parallel()
	for _, last := range []string{"2", "never"} {
		address := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
			offset := r.FormValue("offset")
			if offset == last {
				io.WriteString(w, `{"total":3,"items":[],"next":null}`)
				return
			}
			next := map[string]string{"": "1", "1": "2", "2": "2"}[offset]
			fmt.Fprintf(w, `{"total":3,"items":[{"type":"DataplaneOverview","mesh":"default","name":"p%s",`+
				`"dataplane":{"networking":{"address":"127.0.0.1"}},"dataplaneInsight":{}}],"next":"http://%s/?offset=%s"}`, next, r.Host, next)
		})
		got := kumactl(t, address, "inspect", "dataplanes")
		if got.code != 0 || !strings.Contains(got.stdout, "p1") || !strings.Contains(got.stdout, "p2") {
			t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
		}
	}
}

func TestInspectJSON(t *testing.T) {
	t.Parallel()
	address := serve(t, map[string]string{"GET /meshes/default/dataplanes/_overview": overviews})
	got := kumactl(t, address, "inspect", "dataplanes", "-o", "json")
	var p page[policy.DataplaneOverview]
	if err := policy.Decode([]byte(got.stdout), &p); err != nil { // strictly: what we print is what we know
		t.Fatalf("%v\n%s", err, got.stdout)
	}
	if p.Total != 3 || len(p.Items) != 3 || p.Next != nil {
		t.Errorf("total %d, %d items, next %v", p.Total, len(p.Items), p.Next)
	}
}
