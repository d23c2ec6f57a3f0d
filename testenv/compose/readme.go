package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"koguma/testenv"
)

// promised is how long it may take until the mesh is up, from when the images are there.
const promised = 2 * time.Minute

// command is a line that people are told to type, and what they are told to see: "# -> hello".
type command struct{ line, want string }

// starts reports whether the command starts the mesh.
func (c command) starts() bool { return strings.HasPrefix(c.line, "docker compose up") }

// commandsOf are the commands in the shell blocks of a section of a document.
func commandsOf(document, section string) ([]command, error) {
	text, err := os.ReadFile(document)
	if err != nil {
		return nil, err
	}
	_, rest, ok := strings.Cut(string(text), "\n## "+section+"\n")
	if !ok {
		return nil, fmt.Errorf("%s has no section %q", document, section)
	}
	body, _, _ := strings.Cut(rest, "\n## ")
	var commands []command
	for _, b := range testenv.Blocks(body) {
		for line := range strings.Lines(b.Commands) {
			line, comment, _ := strings.Cut(line, " # ")
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			want, ok := strings.CutPrefix(comment, "-> ")
			if !ok { // it is a remark
				want = ""
			}
			commands = append(commands, command{line, strings.TrimSpace(want)})
		}
	}
	if len(commands) == 0 {
		return nil, fmt.Errorf("%s: no commands in section %q", document, section)
	}
	return commands, nil
}

// obey types a command. It returns what was seen last, or an error if that is not what was to be seen.
func (e *engine) obey(ctx context.Context, c command) (string, error) {
	begin := time.Now()
	out, err := e.run(ctx, c.line)
	switch {
	case c.starts():
		return e.started(ctx, err)
	case err != nil:
		return "", err
	case !strings.Contains(out, c.want):
		return "", fmt.Errorf("it says %q, and should say %q", out, c.want)
	case c.want != "":
		return lineWith(out, c.want), nil
	}
	return fmt.Sprintf("done after %.1f s", time.Since(begin).Seconds()), nil
}

// started says how long it took until all services were healthy. That begins with the first container, when all images are there.
func (e *engine) started(ctx context.Context, err error) (string, error) {
	if err != nil {
		logs, _ := e.run(ctx, "docker compose ps --all; docker compose logs --tail 10")
		return "", fmt.Errorf("%w\n%s", err, logs)
	}
	text, err := e.run(ctx, "docker inspect --format '{{.Created}}' $(docker compose ps --quiet postgres)")
	if err != nil {
		return "", err
	}
	created, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return "", err
	}
	took := time.Since(created)
	if took > promised {
		return "", fmt.Errorf("it took %v once the images were there, and should take %v at most", took, promised)
	}
	return fmt.Sprintf("all healthy %.1f s after the images were there", took.Seconds()), nil
}

// lineWith is the line of a text that has something in it.
func lineWith(text, part string) string {
	before, after, _ := strings.Cut(text, part)
	rest, _, _ := strings.Cut(after, "\n")
	return before[strings.LastIndexByte(before, '\n')+1:] + part + rest
}
