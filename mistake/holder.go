package mistake

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// WhoListens is the command that shows who listens at a TCP port of this machine. It names the program if that is one of ours.
func WhoListens(port int) string {
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		listening(table, port, inodes)
	}
	if pid, name := holder(func(link string) bool { return inodes[link] }); pid != 0 {
		return fmt.Sprintf("ps -fp %d  # %s listens at port %d", pid, Word(name), port)
	}
	return fmt.Sprintf("sudo ss -ltnp 'sport = :%d'", port)
}

// WhoHas is the command that shows who has a file open. It names the program if that is one of ours.
func WhoHas(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	if pid, name := holder(func(link string) bool { return link == path }); pid != 0 {
		return fmt.Sprintf("ps -fp %d  # %s has it open", pid, Word(name))
	}
	return Command("sudo", "fuser", "-v", path)
}

// listening adds the sockets that listen at a port, as the links of those who have them are called.
func listening(table string, port int, to map[string]bool) {
	f, err := os.Open(table)
	if err != nil {
		return
	}
	defer f.Close()
	const listen = "0A" // a state
	suffix := fmt.Sprintf(":%04X", port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if c := strings.Fields(lines.Text()); len(c) > 9 && c[3] == listen && strings.HasSuffix(c[1], suffix) {
			to["socket:["+c[9]+"]"] = true
		}
	}
}

// holder is another process of ours that has something open, and its name; 0 if there is none that can be seen.
func holder(fits func(link string) bool) (pid int, name string) {
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, ""
	}
	for _, l := range links {
		to, err := os.Readlink(l)
		if err != nil || !fits(to) {
			continue
		}
		dir := filepath.Dir(filepath.Dir(l))
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			continue // it has ended
		}
		return pid, strings.TrimSpace(string(comm))
	}
	return 0, ""
}
