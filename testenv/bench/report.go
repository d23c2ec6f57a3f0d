package main

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// figure is one thing that is measured.
type figure int

const (
	cpuPerProxy figure = iota
	readyTime
	memoryPerProxy
	idleMemory
	idleCPU
	changeTime
	cpuPerChange
	toOthers
	envoyStart
	agentStart
	agentMemory
	binarySize
	figures // how many there are
)

// report collects what was measured.
type report struct {
	n       int
	samples map[figure][]float64
}

func (r *report) add(f figure, value float64) { r.samples[f] = append(r.samples[f], value) }

// write writes the table in Markdown.
func (r *report) write(w io.Writer) error {
	n := fmt.Sprintf("N=%d", r.n)
	rows := [figures]struct {
		name, unit, target string
		digits             int
	}{
		cpuPerProxy:    {"CP CPU to bring up one proxy, " + n, "ms", "≤ 1.5", 2},
		readyTime:      {n + " proxies ready", "s", "≤ 2 at N=1,000", 2},
		memoryPerProxy: {"CP memory per proxy, " + n, "KiB", "≤ 200 / 130 at N=200 / 1,000", 0},
		idleMemory:     {"CP memory, nothing connected", "MiB", "≤ 40", 1},
		idleCPU:        {"CP CPU, idle, " + n + " connected", "% of a core", "≤ 1 at N=1,000", 2},
		changeTime:     {"a permission changed → last of its N/20 proxies has it, " + n, "ms", "≤ 20 / 50 at N=200 / 1,000", 1},
		cpuPerChange:   {"CP CPU per such change, " + n, "ms", "≤ 50 at N=1,000", 2},
		toOthers:       {"responses per such change beyond one for each of these", "", "0", 1},
		envoyStart:     {"Envoy alone, configured by a file → first mTLS request", "ms", "–", 0},
		agentStart:     {"`kuma-dp run` → first mTLS request", "ms", "≤ Envoy alone + 150", 0},
		agentMemory:    {"agent memory", "MiB", "≤ 30", 1},
		binarySize:     {"size of each binary", "MB", "≤ 35", 1},
	}
	if _, err := fmt.Fprint(w, "| figure | unit | to reach | median | p95 | from – to | samples |\n|---|---|---|---|---|---|---|\n"); err != nil {
		return err
	}
	for f, row := range rows {
		s := slices.Sorted(slices.Values(r.samples[figure(f)]))
		if len(s) == 0 {
			continue
		}
		_, err := fmt.Fprintf(w, "| %s | %s | %s | %.*f | %.*f | %.*f – %.*f | %d |\n", row.name, row.unit, row.target,
			row.digits, quantile(s, 0.5), row.digits, quantile(s, 0.95), row.digits, s[0], row.digits, s[len(s)-1], len(s))
		if err != nil {
			return err
		}
	}
	return nil
}

// quantile is the smallest of the sorted values that is not exceeded by the part q of them.
func quantile(sorted []float64, q float64) float64 {
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
