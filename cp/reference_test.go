package cp_test

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"koguma/cp"
)

// What there is to look at is in doc/reference.md.
func TestReference(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../doc/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, name := range metricNames(cp.Metrics()) {
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") && !strings.Contains(text, "\n| `"+name+"` | ") {
			t.Errorf("metric %s has no row", name)
		}
	}
}

// metricNames are the names of what c may collect, with their labels: name{label,label}.
func metricNames(c prometheus.Collector) []string {
	ch := make(chan *prometheus.Desc)
	go func() { defer close(ch); c.Describe(ch) }()
	var names []string
	for d := range ch {
		// Desc{fqName: "name", help: "...", constLabels: {}, variableLabels: {label,label}}
		text := d.String()
		_, labels, _ := strings.Cut(strings.TrimSuffix(text, "}"), "variableLabels: ")
		names = append(names, strings.Split(text, `"`)[1]+strings.TrimSuffix(labels, "{}"))
	}
	return names
}
