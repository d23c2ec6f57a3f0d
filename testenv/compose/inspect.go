package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"koguma/testenv"
)

// user is the id that programs of ours run by.
const user = 65532

// sizes is how large our images are.
func (e *engine) sizes(ctx context.Context) (string, error) {
	sizes, err := e.run(ctx, "docker images --format '{{.Repository}} {{.Size}}' 'koguma-*'")
	return strings.ReplaceAll(sizes, "\n", ", "), err
}

// inspect looks at what runs from outside: by the kernel nobody is root, has a capability, or may get one. No token can be
// read but in its file, which belongs to its one reader.
func (e *engine) inspect(ctx context.Context) (string, error) {
	const format = "{{.Name}} {{.State.Pid}} {{.HostConfig.ReadonlyRootfs}}"
	out, err := e.run(ctx, "docker inspect --format '"+format+"' $(docker compose ps --quiet)")
	if err != nil {
		return "", err
	}
	containers, processes := 0, 0
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "true" {
			return "", fmt.Errorf("the container %s can write to its image", line)
		}
		first, err := strconv.Atoi(fields[1])
		if err != nil {
			return "", err
		}
		for _, pid := range append(testenv.Descendants(first), first) {
			if err := confined(pid); err != nil {
				return "", fmt.Errorf("%s: %w", fields[0], err)
			}
			processes++
		}
		containers++
	}
	said, err := e.run(ctx, "docker inspect $(docker compose ps --all --quiet); docker compose logs")
	if err != nil {
		return "", err
	}
	if strings.Contains(said, "eyJ") {
		return "", errors.New("there is a token in logs, or in what the engine tells of containers")
	}
	tokens, err := e.tokens()
	return fmt.Sprintf("%d processes in %d containers: no root, no capabilities; %d tokens in files of mode 0400",
		processes, containers, tokens), err
}

// confined is an error if a process runs as root, has a capability, or could get either by what it executes.
func confined(pid int) error {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	status := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.Join(strings.Fields(value), " ")
	}
	uids := strings.Fields(status["Uid"])
	none := "0000000000000000"
	for _, uid := range uids {
		if uid == "0" {
			return fmt.Errorf("%s runs as root", status["Name"])
		}
	}
	if len(uids) == 0 || status["CapEff"] != none || status["CapBnd"] != none || status["NoNewPrivs"] != "1" {
		return fmt.Errorf("%s: capabilities %s of %s, no_new_privs %s",
			status["Name"], status["CapEff"], status["CapBnd"], status["NoNewPrivs"])
	}
	return nil
}

// tokens is how many there are in volumes.
func (e *engine) tokens() (int, error) {
	files, err := filepath.Glob(e.path("data", "volumes", "koguma_*-token", "_data", "*"))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return 0, err
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; info.Mode() != fs.FileMode(0o400) || owner != user {
			return 0, fmt.Errorf("%s: mode %v, of user %d", file, info.Mode(), owner)
		}
	}
	if len(files) != 3 {
		return 0, fmt.Errorf("%d tokens in volumes, want one for each proxy: %v", len(files), files)
	}
	return len(files), nil
}

// askAPI asks for what everybody may read, and for a token, at the port that the host has.
func (e *engine) askAPI(ctx context.Context) (string, error) {
	const api = "http://127.0.0.1:5681"
	for _, path := range []string{"/meshes/default", "/gui"} {
		status, body, err := testenv.Get(ctx, api+path)
		if err != nil {
			return "", err
		}
		if status != http.StatusOK {
			return "", fmt.Errorf("GET %s: %d %s", path, status, body)
		}
	}
	question := strings.NewReader(`{"mesh": "default", "name": "web-1"}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, api+"/tokens/dataplane", question)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := new(http.Transport).RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		return "", fmt.Errorf("a token is answered with %s, and not refused", resp.Status)
	}
	return "it may be read, the page too, and gives no token", nil
}
