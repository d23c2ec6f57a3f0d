package deploy_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"koguma/testenv/deploy"
)

// known are the metrics in doc/reference.md, each with its labels. That these are all there are is tested where they are made.
func known(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../doc/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `((?:koguma|kuma_dp)_\\w+)(?:\\{([\\w,]+)\\})?` \\| (histogram)?").FindAllStringSubmatch(string(text), -1) {
		var labels []string
		if row[2] != "" {
			labels = strings.Split(row[2], ",")
		}
		metrics[row[1]] = labels
		if row[3] != "" {
			metrics[row[1]+"_bucket"] = append(labels, "le")
		}
	}
	if len(metrics) < 30 {
		t.Fatalf("%d metrics in the reference", len(metrics))
	}
	return metrics
}

// checkExpression finds each metric of an expression among those that there are, and each label at one of its metrics, or at what
// Prometheus gives a target by prometheus.yaml. text is what is made of the labels.
func checkExpression(t *testing.T, metrics map[string][]string, where, expr, text string) {
	t.Helper()
	names, labels := deploy.Metrics(expr)
	_, shown := deploy.Metrics(text)
	may := []string{"instance", "job"}
	for _, name := range names {
		own, ok := metrics[name]
		if !ok {
			t.Errorf("%s: no metric %s", where, name)
		}
		may = append(may, own...)
		if strings.HasPrefix(name, "kuma_dp_") {
			may = append(may, "mesh", "proxy")
		}
	}
	switch {
	case strings.Contains(expr, `up{job="kuma-dp"}`):
		may = append(may, "mesh", "proxy")
	case strings.Contains(expr, "ALERTS"):
		may = append(may, "alertname", "alertstate")
	case len(names) == 0 && !strings.Contains(expr, `{job="kuma-cp"}`): // of which Prometheus and its library know what is asked there
		t.Errorf("%s: no metric in %q", where, expr)
	}
	for _, label := range append(labels, shown...) {
		if !slices.Contains(may, label) {
			t.Errorf("%s: no label %s at %v", where, label, names)
		}
	}
}

// headings are the anchors of the headings of doc/operations.md.
func headings(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../doc/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		words := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(words, " ", "-"))
	}
	return all
}

// Every alert is about metrics and labels that there are, says how bad it is, and names a heading of doc/operations.md, where the
// alert is named as well.
func TestAlerts(t *testing.T) {
	t.Parallel()
	var rules deploy.Rules
	if err := deploy.Read("../../deploy/prometheus/alerts.yaml", &rules); err != nil {
		t.Fatal(err)
	}
	book, err := os.ReadFile("../../doc/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	anchors, metrics := headings(t), known(t)
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			checkExpression(t, metrics, r.Alert, r.Expr, r.Annotations["summary"])
			if s := r.Labels["severity"]; s != "critical" && s != "warning" || len(r.Labels) != 1 {
				t.Errorf("%s: labels %v", r.Alert, r.Labels)
			}
			anchor, ok := strings.CutPrefix(r.Annotations["runbook"], "doc/operations.md#")
			if !ok || !slices.Contains(anchors, anchor) {
				t.Errorf("%s: no heading %q", r.Alert, r.Annotations["runbook"])
			}
			if !strings.Contains(string(book), "`"+r.Alert+"`") {
				t.Errorf("%s is not in doc/operations.md", r.Alert)
			}
		}
	}
}

// Every alert has a test in which it fires, and one in which it does not.
func TestAlertsAreTested(t *testing.T) {
	t.Parallel()
	var rules deploy.Rules
	if err := deploy.Read("../../deploy/prometheus/alerts.yaml", &rules); err != nil {
		t.Fatal(err)
	}
	var cases deploy.Cases
	if err := deploy.Read("../../deploy/prometheus/alerts_test.yaml", &cases); err != nil {
		t.Fatal(err)
	}
	metrics, ofTargets := known(t), regexp.MustCompile(`[{,] *(mesh|proxy|job)="[^"]*"`)
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range cases.Tests {
		for _, c := range test.AlertRuleTest {
			if len(c.ExpAlerts) > 0 {
				fires[c.AlertName] = true
			} else {
				silent[c.AlertName] = true
			}
		}
		for _, s := range test.InputSeries {
			if strings.HasPrefix(s.Series, "up{") {
				continue // Prometheus's own
			}
			checkExpression(t, metrics, "alerts_test.yaml", ofTargets.ReplaceAllString(s.Series, "{"), "")
		}
	}
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			if !fires[r.Alert] || !silent[r.Alert] {
				t.Errorf("%s: tested where it fires %v, and where not %v", r.Alert, fires[r.Alert], silent[r.Alert])
			}
		}
	}
}

// The dashboard is about metrics and labels that there are; its panels have room, and numbers of their own.
func TestDashboard(t *testing.T) {
	t.Parallel()
	var d deploy.Dashboard
	if err := deploy.Read("../../deploy/grafana/koguma.json", &d); err != nil {
		t.Fatal(err)
	}
	metrics := known(t)
	ids, taken := map[int]string{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if other, ok := ids[p.ID]; ok {
			t.Errorf("%q and %q have the id %d", p.Title, other, p.ID)
		}
		ids[p.ID] = p.Title
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[cell]; ok || cell[0] >= 24 {
					t.Fatalf("%q has no room at %v: %q", p.Title, cell, other)
				}
				taken[cell] = p.Title
			}
		}
		if p.Datasource.UID != "${datasource}" {
			t.Errorf("%q asks %q", p.Title, p.Datasource.UID)
		}
		for _, target := range p.Targets {
			checkExpression(t, metrics, p.Title, target.Expr, target.LegendFormat)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			checkExpression(t, metrics, v.Name, v.Query, "")
		}
	}
}
