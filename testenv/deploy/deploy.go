// Package deploy reads what is in the folder of that name, for those who try it: alerts, and a dashboard.
package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"koguma/policy"
)

// Rules is a file with alerts, as Prometheus reads it.
type Rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []Rule `json:"rules"`
	} `json:"groups"`
}

// Rule is one alert.
type Rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Cases is a file with tests of alerts, as far as it says which alert fires when.
type Cases struct {
	RuleFiles          []string `json:"rule_files"`
	EvaluationInterval string   `json:"evaluation_interval"`
	Tests              []struct {
		Interval    string `json:"interval"`
		InputSeries []struct {
			Series string `json:"series"`
			Values string `json:"values"`
		} `json:"input_series"`
		AlertRuleTest []struct {
			EvalTime  string `json:"eval_time"`
			AlertName string `json:"alertname"`
			ExpAlerts []struct {
				ExpLabels      map[string]string `json:"exp_labels"`
				ExpAnnotations map[string]string `json:"exp_annotations"`
			} `json:"exp_alerts,omitempty"`
		} `json:"alert_rule_test"`
	} `json:"tests"`
}

// Dashboard is a file for Grafana, as far as ours uses what there is.
type Dashboard struct {
	UID           string   `json:"uid"`
	Title         string   `json:"title"`
	Tags          []string `json:"tags"`
	SchemaVersion int      `json:"schemaVersion"`
	Editable      bool     `json:"editable"`
	Refresh       string   `json:"refresh"`
	Time          struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"time"`
	Templating struct {
		List []Variable `json:"list"`
	} `json:"templating"`
	Panels []Panel `json:"panels"`
}

// Variable is what people choose at the top of a dashboard.
type Variable struct {
	Name       string      `json:"name"`
	Label      string      `json:"label"`
	Type       string      `json:"type"`
	Query      string      `json:"query"`
	Datasource *Datasource `json:"datasource,omitempty"`
	Refresh    int         `json:"refresh,omitempty"`
	Multi      bool        `json:"multi,omitempty"`
	IncludeAll bool        `json:"includeAll,omitempty"`
	Current    *struct {
		Text  string `json:"text"`
		Value string `json:"value"`
	} `json:"current,omitempty"`
}

// Datasource is where the figures come from.
type Datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Panel is one picture.
type Panel struct {
	ID          int        `json:"id"`
	Title       string     `json:"title"`
	Description string     `json:"description,omitempty"`
	Type        string     `json:"type"`
	Datasource  Datasource `json:"datasource"`
	GridPos     struct {
		X int `json:"x"`
		Y int `json:"y"`
		W int `json:"w"`
		H int `json:"h"`
	} `json:"gridPos"`
	FieldConfig struct {
		Defaults struct {
			Unit       string `json:"unit"`
			Min        *int   `json:"min,omitempty"`
			Max        *int   `json:"max,omitempty"`
			Thresholds *struct {
				Mode  string `json:"mode"`
				Steps []struct {
					Color string `json:"color"`
					Value int    `json:"value"`
				} `json:"steps"`
			} `json:"thresholds,omitempty"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Options *struct {
		Orientation string `json:"orientation"`
		DisplayMode string `json:"displayMode"`
	} `json:"options,omitempty"`
	Targets []struct {
		RefID        string `json:"refId"`
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat,omitempty"`
		Instant      bool   `json:"instant,omitempty"`
	} `json:"targets"`
}

// Read reads a file into what it should be; what that does not know is an error.
func Read(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := policy.Decode(data, v); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return nil
}

// Metrics are the names and labels of metrics that a text uses, in expressions and in {{ }}. What is nobody's metric or label, a
// function for example, is not told from those.
func Metrics(expr string) (names, labels []string) {
	expr = regexp.MustCompile(`"[^"]*"`).ReplaceAllString(expr, `""`)
	names = regexp.MustCompile(`\b(?:koguma|kuma_dp)_\w+`).FindAllString(expr, -1)
	for _, list := range regexp.MustCompile(`(?:by|without) \(([^)]*)\)`).FindAllStringSubmatch(expr, -1) {
		labels = append(labels, strings.Split(list[1], ", ")...)
	}
	for _, m := range regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)""`).FindAllStringSubmatch(expr, -1) {
		labels = append(labels, m[1])
	}
	for _, m := range regexp.MustCompile(`\{\{ *(?:\$labels\.)?(\w+) *\}\}`).FindAllStringSubmatch(expr, -1) {
		labels = append(labels, m[1])
	}
	return names, labels
}
