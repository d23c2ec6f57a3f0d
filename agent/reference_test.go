package agent_test

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"koguma/agent"
)

// Every metric is in doc/reference.md.
func TestReference(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../doc/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := make(chan *prometheus.Desc)
	go func() { defer close(metrics); agent.Metrics().Describe(metrics) }()
	for d := range metrics {
		name := strings.Split(d.String(), `"`)[1] // Desc{fqName: "name", ...
		if !strings.Contains(string(text), "\n| `"+name+"` | ") && !strings.Contains(string(text), "\n| `"+name+"{") {
			t.Errorf("metric %s has no row", name)
		}
	}
}
