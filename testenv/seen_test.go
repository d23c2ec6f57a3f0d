package testenv_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// A permission is changed at one of two control planes, until the other one has the change too: with a Postgres that holds
// 10,000 Dataplanes and 1,000 permissions.
func BenchmarkSeen(b *testing.B) {
	env := testenv.PostgresEnv(largePostgres(b))
	var urls []string
	for range 2 {
		cp, err := testenv.StartControlPlane(b.Context(), workDir(b), env...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { cp.Stop(10 * time.Second) })
		urls = append(urls, cp.API+"/meshes/default/traffic-permissions/permission-1")
	}
	var took []time.Duration
	for b.Loop() {
		label := fmt.Sprint("change-", len(took))
		begin := time.Now()
		body := strings.NewReader(fmt.Sprintf(`{"type":"TrafficPermission","mesh":"default","name":"permission-1","labels":{"seen":%q},`+
			`"sources":[{"match":{"kuma.io/service":"service-1"}}],"destinations":[{"match":{"kuma.io/service":"service-2"}}]}`, label))
		if answer := request(b, http.MethodPut, urls[len(took)%2], body); !strings.HasPrefix(answer, "200 ") {
			b.Fatal(answer)
		}
		for !strings.Contains(request(b, http.MethodGet, urls[(len(took)+1)%2], nil), `"`+label+`"`) {
			time.Sleep(time.Millisecond)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
}

// request is the status and the body that are answered.
func request(b *testing.B, method, url string, body io.Reader) string {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, url, body)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return resp.Status + " " + string(answer)
}
