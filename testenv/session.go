package testenv

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Block is what a document tells its reader to type in one go, and what it says will come of that.
type Block struct {
	Line     int    // where the commands begin in the document
	Commands string // for a shell
	Output   string // what they print; empty where the document does not say
}

// Blocks are the fenced blocks of a Markdown document that are marked `sh`, in order. One without a mark that follows at
// once is what they print.
func Blocks(document string) []Block {
	var blocks []Block
	var inside bool   // of a fenced block
	var mark string   // of that one
	var text []string // what it has so far
	var follows bool  // commands ended in the line before
	for i, line := range strings.Split(document, "\n") {
		switch {
		case strings.HasPrefix(line, "```") && !inside:
			inside, mark, text = true, strings.TrimPrefix(line, "```"), nil
			if mark == "sh" {
				blocks = append(blocks, Block{Line: i + 2})
			}
		case strings.HasPrefix(line, "```"):
			all := strings.Join(text, "\n") + "\n"
			if mark == "sh" {
				blocks[len(blocks)-1].Commands = all
			} else if mark == "" && follows {
				blocks[len(blocks)-1].Output = all
			}
			inside, follows = false, mark == "sh"
		case inside:
			text = append(text, line)
		default:
			follows = false
		}
	}
	return blocks
}

// Check is an error if the commands did not print what the document says. Blanks count as one, so that columns may be as
// wide as they are. `...` stands for the rest of a word or line, and alone on its line for any number of lines.
func (s Block) Check(printed string) error {
	if s.Output == "" {
		return nil
	}
	var pattern strings.Builder
	for _, line := range lines(s.Output) {
		if line == "..." {
			pattern.WriteString(`(.*\n)*?`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `.*`) + `\n`)
	}
	got := strings.Join(lines(printed), "\n") + "\n"
	if !regexp.MustCompile(`^` + pattern.String() + `$`).MatchString(got) {
		return fmt.Errorf("line %d: these commands:\n%sprinted:\n%sand not:\n%s", s.Line, s.Commands, printed, s.Output)
	}
	return nil
}

// lines are the lines of a text without what is at their ends, and with one blank where there are several.
func lines(text string) []string {
	var all []string
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		all = append(all, strings.Join(strings.Fields(line), " "))
	}
	return all
}

// loopback turns on the loopback of a new network namespace: 0x8914 is SIOCSIFFLAGS, 1 is IFF_UP.
const loopback = `python3 -c 'import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 1))'` + "\n"

// Session runs the blocks in one shell, in dir, which is its home, and says what each of them printed; where one fails,
// that is the last. The shell has the built programs and Envoy on its PATH, a network of its own in which all ports are
// free, and takes with it at its end whatever it has started. That takes root, or a kernel that lets everybody have
// namespaces.
func Session(ctx context.Context, dir string, blocks []Block) (printed []string, err error) {
	programs, err := Binary("kumactl")
	if err != nil {
		return nil, err
	}
	envoy, err := Envoy()
	if err != nil {
		return nil, err
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, err
	}
	file := func(i int, end string) string { return filepath.Join(tmp, fmt.Sprintf("block%d.%s", i, end)) }
	script := "set -eE\ntrap 'echo \"$BASH_COMMAND: exit code $?\"' ERR\n" + loopback
	for i, block := range blocks {
		if err := os.WriteFile(file(i, "sh"), []byte(block.Commands), 0o600); err != nil {
			return nil, err
		}
		script += fmt.Sprintf(". %s </dev/null >%s 2>&1\n", file(i, "sh"), file(i, "out"))
	}
	args := []string{"--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script}
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	shell, err := Start(Command{
		Name: "the shell", Path: "unshare", Args: args, Dir: dir,
		Env: []string{
			"HOME=" + dir, "TMPDIR=" + tmp,
			"PATH=" + filepath.Dir(programs) + ":" + filepath.Dir(envoy) + ":" + os.Getenv("PATH"),
		},
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-shell.Done():
	case <-ctx.Done():
	}
	shell.Kill() // what has ended is not hurt by that
	if shell.ExitCode() != 0 {
		err = cmp.Or(ctx.Err(), shell.Running())
	}
	for i, block := range blocks {
		out, missing := os.ReadFile(file(i, "out"))
		if missing != nil {
			break
		}
		printed = append(printed, string(out))
		if _, next := os.Stat(file(i+1, "out")); err != nil && next != nil {
			err = fmt.Errorf("line %d: these commands:\n%sfailed and printed:\n%s\n%w", block.Line, block.Commands, bytes.TrimSpace(out), err)
		}
	}
	if err == nil && len(printed) < len(blocks) {
		err = errors.New("the shell ended before the last block")
	}
	return printed, err
}
