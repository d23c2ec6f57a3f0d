package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"koguma/agent"
	"koguma/token"
)

// settings are the flags of kuma-dp run, as they were given.
type settings struct {
	name, mesh, proxyType          string
	cpAddresses                    []string
	caFile, caText                 string
	skipVerify                     bool
	retryBackoff, retryMax         time.Duration
	tokenFile, token               string
	dataplaneFile, dataplane       string
	vars                           map[string]string
	binary, workDir, workloadAPI   string
	concurrency, readinessPort     int
	drainTime, envoyDrainTime      time.Duration
	logLevel, envoyLog, envoyParts string
	exitWithEnvoy                  bool
}

// variables are the environment variables of the flags. Where there are several, the first is the one to use.
func variables() map[string][]string {
	return map[string][]string{
		"name":                      {"KUMA_DATAPLANE_NAME"},
		"mesh":                      {"KUMA_DATAPLANE_MESH"},
		"proxy-type":                {"KUMA_DATAPLANE_PROXY_TYPE"},
		"drain-time":                {"KUMA_DATAPLANE_DRAIN_TIME"},
		"cp-address":                {"KUMA_CONTROL_PLANE_URL"},
		"ca-cert-file":              {"KUMA_CONTROL_PLANE_CA_CERT_FILE"},
		"ca-cert":                   {"KUMA_CONTROL_PLANE_CA_CERT"},
		"skip-verify":               {"KUMA_CONTROL_PLANE_TLS_SKIP_VERIFY"},
		"retry-backoff":             {"KUMA_CONTROL_PLANE_RETRY_BACKOFF"},
		"retry-max-duration":        {"KUMA_CONTROL_PLANE_RETRY_MAX_DURATION"},
		"binary-path":               {"KUMA_DATAPLANE_RUNTIME_BINARY_PATH"},
		"concurrency":               {"KUMA_DATAPLANE_RUNTIME_CONCURRENCY"},
		"work-dir":                  {"KUMA_DATAPLANE_RUNTIME_WORK_DIR", "KUMA_DATAPLANE_RUNTIME_CONFIG_DIR", "KUMA_DATAPLANE_RUNTIME_SOCKET_DIR"},
		"workload-api-socket":       {"KUMA_DATAPLANE_RUNTIME_WORKLOAD_API_SOCKET"},
		"dataplane-token-file":      {"KUMA_DATAPLANE_RUNTIME_TOKEN_PATH"},
		"dataplane-token":           {"KUMA_DATAPLANE_RUNTIME_TOKEN"},
		"dataplane-file":            {"KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH"},
		"dataplane":                 {"KUMA_DATAPLANE_RUNTIME_RESOURCE"},
		"envoy-log-level":           {"KUMA_DATAPLANE_RUNTIME_ENVOY_LOG_LEVEL"},
		"envoy-component-log-level": {"KUMA_DATAPLANE_RUNTIME_ENVOY_COMPONENT_LOG_LEVEL"},
		"envoy-drain-time":          {"KUMA_DATAPLANE_RUNTIME_ENVOY_DRAIN_TIME"},
		"exit-with-envoy":           {"KUMA_DATAPLANE_RUNTIME_EXIT_WITH_ENVOY"},
		"readiness-port":            {"KUMA_READINESS_PORT"},
		"log-level":                 {"KUMA_DATAPLANE_LOG_LEVEL"},
	}
}

func (s *settings) register(f *pflag.FlagSet) {
	f.StringVar(&s.name, "name", "", "name of the Dataplane; with a definition it comes from there")
	f.StringVar(&s.mesh, "mesh", "", `mesh of the Dataplane (default "`+agent.DefaultMesh+`"); with a definition it comes from there`)
	f.StringVar(&s.proxyType, "proxy-type", "dataplane", "kind of proxy: dataplane is the only one")
	f.StringArrayVar(&s.cpAddresses, "cp-address", []string{agent.DefaultCPAddress},
		"control plane: https://HOST:PORT of its DP server, or http://HOST:PORT of its API; several DP servers with commas, or given several times")
	f.StringVar(&s.caFile, "ca-cert-file", "", "file with the CA certificates that the control plane's may come from (default: the CA that the token names)")
	f.StringVar(&s.caText, "ca-cert", "", "the CA certificates themselves, in PEM")
	f.BoolVar(&s.skipVerify, "skip-verify", false, "refused: the token would go to whoever answers")
	f.DurationVar(&s.retryBackoff, "retry-backoff", agent.DefaultRetryBackoff, "longest pause between two attempts to connect for the first time")
	f.DurationVar(&s.retryMax, "retry-max-duration", agent.DefaultRetryMax, "how long to try to connect for the first time")
	f.StringVar(&s.tokenFile, "dataplane-token-file", "", "file with the token; another one in it is taken up at once")
	f.StringVar(&s.token, "dataplane-token", "", "the token itself; everybody on this host can read it")
	f.StringVarP(&s.dataplaneFile, "dataplane-file", "d", "", "file with the Dataplane, - for standard input")
	f.StringVar(&s.dataplane, "dataplane", "", "the Dataplane itself, in YAML or JSON")
	s.vars = map[string]string{}
	f.VarP(pairs(s.vars), "dataplane-var", "v", "value of a {{ variable }} in the Dataplane; may be given several times")
	f.StringVar(&s.binary, "binary-path", "envoy", "Envoy: a path, or a name that is looked for in PATH, here, and beside kuma-dp")
	f.StringVar(&s.workDir, "work-dir", "", "directory for sockets and the bootstrap (default: that of temporary files)")
	f.StringVar(&s.workDir, "config-dir", "", "old name of --work-dir")
	f.StringVar(&s.workloadAPI, "workload-api-socket", "", "path of a socket at which programs get the identity by the SPIFFE Workload API (default: none)")
	f.IntVar(&s.concurrency, "concurrency", 0, "worker threads of Envoy; 0 lets Envoy decide")
	f.IntVar(&s.readinessPort, "readiness-port", 0, "port of /ready, /identity and /metrics on 127.0.0.1 (default 9902, or any if that is taken)")
	f.DurationVar(&s.drainTime, "drain-time", agent.DefaultDrainTime, "how long open connections may take to end at a shutdown")
	f.DurationVar(&s.envoyDrainTime, "envoy-drain-time", agent.DefaultEnvoyDrainTime, "how long an open connection lives on when its permission was taken away")
	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn, error or off")
	f.StringVar(&s.envoyLog, "envoy-log-level", "", "log level of Envoy (default: that of --log-level, but warning for info)")
	f.StringVar(&s.envoyParts, "envoy-component-log-level", "", "log levels of parts of Envoy, such as upstream:debug,config:trace")
	f.BoolVar(&s.exitWithEnvoy, "exit-with-envoy", false, "end when Envoy ends, instead of starting it again")
	for _, name := range []string{"ca-cert", "config-dir", "skip-verify"} {
		_ = f.MarkHidden(name) // they exist
	}
}

// describe shows the environment variable of each flag.
func describe(f *pflag.FlagSet) {
	for name, env := range variables() {
		f.Lookup(name).Usage += " [" + env[0] + "]"
	}
}

// fromEnvironment sets the flags that were not given from the environment. The error never has the value.
func fromEnvironment(f *pflag.FlagSet, environ []string) error {
	for name, variables := range variables() {
		if f.Changed(name) || name == "work-dir" && f.Changed("config-dir") {
			continue
		}
		for _, v := range variables {
			value, ok := lookup(environ, v)
			if !ok || value == "" {
				continue
			}
			if err := f.Set(name, value); err != nil {
				return fmt.Errorf("%s: not a %s; unset it, or see --%s in kuma-dp run --help", v, f.Lookup(name).Value.Type(), name)
			}
			break
		}
	}
	return nil
}

func lookup(environ []string, name string) (string, bool) {
	i := slices.IndexFunc(environ, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	if i < 0 {
		return "", false
	}
	return environ[i][len(name)+1:], true
}

// unknownVariables are the names of those that look as if they were for this program.
func unknownVariables(environ []string) []string {
	known := slices.Concat(slices.Collect(maps.Values(variables()))...)
	var unknown []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		ours := strings.HasPrefix(name, "KUMA_DATAPLANE_") || strings.HasPrefix(name, "KUMA_CONTROL_PLANE_")
		if ours && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// config reads the files that the settings name, and makes of all the configuration of an agent.
func (s *settings) config(stdin io.Reader, stdout, stderr io.Writer) (agent.Config, error) {
	cfg, err := s.withoutFiles(stdout, stderr)
	if err != nil {
		return agent.Config{}, err
	}
	if cfg.CACert, err = s.readCA(); err != nil {
		return agent.Config{}, err
	}
	cfg.Dataplane, err = s.readDataplane(stdin)
	return cfg, err
}

// withoutFiles is the configuration but for what is in the files of the CA and of the Dataplane.
func (s *settings) withoutFiles(stdout, stderr io.Writer) (agent.Config, error) {
	log, err := newLogger(s.logLevel, stderr)
	if err != nil {
		return agent.Config{}, err
	}
	switch {
	case s.token != "" && s.tokenFile != "":
		return agent.Config{}, errors.New("both --dataplane-token-file and --dataplane-token (or KUMA_DATAPLANE_RUNTIME_TOKEN) are given; give one of them")
	case s.skipVerify:
		return agent.Config{}, errors.New("--skip-verify would give the token to whoever answers; leave it out: the token names the CA, or give --ca-cert-file")
	case s.proxyType != "dataplane":
		return agent.Config{}, fmt.Errorf("--proxy-type %q: dataplane is the only kind there is", s.proxyType)
	case s.retryMax == 0 || s.retryBackoff == 0 || s.envoyDrainTime == 0:
		return agent.Config{}, errors.New("--retry-backoff, --retry-max-duration and --envoy-drain-time must be longer than 0s")
	}
	cfg := agent.Config{
		Name: s.name, Mesh: s.mesh, CPAddresses: addresses(s.cpAddresses), RetryBackoff: s.retryBackoff, RetryMax: s.retryMax,
		EnvoyBinary: s.binary, EnvoyLogLevel: s.envoyLog, EnvoyComponentLogLevel: s.envoyParts, Concurrency: s.concurrency,
		EnvoyDrainTime: s.envoyDrainTime, ExitWithEnvoy: s.exitWithEnvoy, DrainTime: s.drainTime, WorkDir: s.workDir,
		WorkloadAPISocket: s.workloadAPI,
		ReadinessPort:     s.readinessPort, Version: version(), Log: log, Stdout: stdout, Stderr: stderr,
		TokenFile: s.tokenFile, Token: token.Raw(s.token), LocalCA: localCA(os.Environ(), log),
	}
	if cfg.EnvoyLogLevel == "" {
		cfg.EnvoyLogLevel = envoyLogLevel(s.logLevel)
	}
	if s.caText == "" {
		cfg.CACertFile = s.caFile
	}
	return cfg, nil
}

// addresses are those in lists with commas. One that is empty is the agent's to refuse, but for none at all.
func addresses(lists []string) []string {
	all := strings.Split(strings.Join(lists, ","), ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	if len(all) == 1 && all[0] == "" {
		return nil
	}
	return all
}

// envoyLogLevel is the level of Envoy's log that goes with ours. What Envoy calls info is a hundred lines for each start.
func envoyLogLevel(ours string) string {
	switch ours {
	case "info", "warn":
		return "warning"
	}
	return ours
}

func newLogger(level string, w io.Writer) (*slog.Logger, error) {
	if level == "off" {
		return slog.New(slog.DiscardHandler), nil
	}
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	l, ok := levels[level]
	if !ok {
		return nil, fmt.Errorf("--log-level %q: choose one of debug, info, warn, error, off", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}
