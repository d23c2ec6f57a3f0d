package agent_test

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"koguma/agent"
)

// Every metric is in doc/reference.md, with its labels.
func TestReference(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../doc/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := make(chan *prometheus.Desc)
	go func() { defer close(metrics); agent.Metrics().Describe(metrics) }()
	for d := range metrics {
		// Desc{fqName: "name", help: "...", constLabels: {}, variableLabels: {label,label}}
		_, labels, _ := strings.Cut(strings.TrimSuffix(d.String(), "}"), "variableLabels: ")
		name := strings.Split(d.String(), `"`)[1] + strings.TrimSuffix(labels, "{}")
		if !strings.Contains(string(text), "\n| `"+name+"` | ") {
			t.Errorf("metric %s has no row", name)
		}
	}
}
