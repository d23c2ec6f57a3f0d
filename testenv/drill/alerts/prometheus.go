package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"koguma/policy"
	"koguma/testenv"
)

// binary is where `make test-rules` has put Debian's Prometheus.
const binary = ".tools/debian/prometheus/usr/bin/prometheus"

// prometheus is one that runs.
type prometheus struct {
	process *testenv.Process
	url     string
}

// startPrometheus starts a Prometheus with our rules, which looks twice a second and waits one second for what alerts wait for. It
// keeps its files below dir.
func startPrometheus(ctx context.Context, dir, targets string) (*prometheus, error) {
	rules, err := os.ReadFile("deploy/prometheus/alerts.yaml")
	if err != nil {
		return nil, err
	}
	hasty := regexp.MustCompile(`(?m)^( +for:) \w+$`).ReplaceAllString(string(rules), "$1 1s")
	for name, content := range map[string]string{"alerts.yaml": hasty, "targets.yaml": targets, "prometheus.yaml": `
global: {scrape_interval: 500ms, evaluation_interval: 500ms}
rule_files: [alerts.yaml]
scrape_configs: [{job_name: koguma, file_sd_configs: [{files: [targets.yaml]}]}]
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	path, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	host := testenv.Loopback()
	ports, err := testenv.FreePorts(host, 1)
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("%s:%d", host, ports[0])
	process, err := testenv.Start(testenv.Command{Name: "prometheus", Path: path, Dir: dir, Args: []string{
		"--config.file=prometheus.yaml", "--storage.tsdb.path=tsdb", "--web.listen-address=" + address,
	}})
	if err != nil {
		return nil, fmt.Errorf("%w; run make test-rules", err)
	}
	p := &prometheus{process: process, url: "http://" + address}
	return p, process.AwaitOK(ctx, p.url+"/-/ready")
}

func (p *prometheus) stop() error {
	if p == nil {
		return nil
	}
	return p.process.Stop(10 * time.Second)
}

// get is what the API answers at a path.
func get[T any](ctx context.Context, p *prometheus, path string) (data T, err error) {
	_, body, err := testenv.Get(ctx, p.url+path)
	if err != nil {
		return data, err
	}
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error,omitempty"`
		Data   T      `json:"data"`
	}
	if err := policy.DecodeOpen([]byte(body), &answer); err != nil {
		return data, fmt.Errorf("%s: %w", path, err)
	}
	if answer.Status != "success" {
		return data, errors.New(answer.Error)
	}
	return answer.Data, nil
}

// queried is the answer to an expression.
type queried struct {
	Result []struct {
		Metric map[string]string `json:"metric"`
	} `json:"result"`
}

// judged is what has become of the rules.
type judged struct {
	Groups []struct {
		Rules []struct {
			Name      string `json:"name"`
			Health    string `json:"health"`
			LastError string `json:"lastError,omitempty"`
		} `json:"rules"`
	} `json:"groups"`
}

// query is the labels of the series that an expression has now.
func (p *prometheus) query(ctx context.Context, expr string) ([]map[string]string, error) {
	data, err := get[queried](ctx, p, "/api/v1/query?query="+url.QueryEscape(expr))
	var all []map[string]string
	for _, r := range data.Result {
		all = append(all, r.Metric)
	}
	return all, err
}

// firing are the names of the alerts that fire, sorted.
func (p *prometheus) firing(ctx context.Context) (names []string, err error) {
	series, err := p.query(ctx, `ALERTS{alertstate="firing"}`)
	for _, labels := range series {
		names = append(names, labels["alertname"])
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// evaluated is how many alerts there are, once all have been evaluated. One for which that failed is an error.
func (p *prometheus) evaluated(ctx context.Context) (n int, err error) {
	err = testenv.Eventually(ctx, "all rules to be evaluated", func() error {
		data, err := get[judged](ctx, p, "/api/v1/rules")
		if err != nil {
			return err
		}
		n = 0
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				if n++; r.Health != "ok" {
					return fmt.Errorf("%s is %s %s", r.Name, r.Health, r.LastError)
				}
			}
		}
		return nil
	})
	return n, err
}
