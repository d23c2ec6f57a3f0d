package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"koguma/policy"
	"koguma/store"
)

// killedStore is the environment variable by which the test binary, started again, knows that it is the writer that
// gets killed, and of which file.
const killedStore = "KOGUMA_TEST_KILLED_STORE"

const (
	kills       = 50
	killWriters = 4
)

func TestMain(m *testing.M) {
	if path := os.Getenv(killedStore); path != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(path))
		os.Exit(1)
	}
	code := m.Run()
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// writeUntilKilled has several writers, each with two resources of its own that it changes together. It prints
// "WRITER NUMBER" for each write that was acknowledged, after it was.
func writeUntilKilled(path string) error {
	s, err := store.OpenFile(path)
	if err != nil {
		return err
	}
	ctx := context.Background()
	errs := make(chan error)
	var mu sync.Mutex // of standard output
	for w := range killWriters {
		go func() {
			n := 1
			first, _ := killedPair(w, 0)
			if old, err := s.Get(ctx, first.Key()); err == nil {
				last, _ := strconv.Atoi(old.Metadata().Labels["n"])
				n = last + 1
			}
			for ; ; n++ {
				a, b := killedPair(w, n)
				if err := s.Write(ctx, store.Op{Put: a, Expect: store.Any}, store.Op{Put: b, Expect: store.Any}); err != nil {
					errs <- err
					return
				}
				mu.Lock()
				fmt.Println(w, n)
				mu.Unlock()
			}
		}()
	}
	return <-errs
}

// killedPair are the two resources of a writer. What is in them grows and shrinks, so that pages split and merge.
func killedPair(writer, n int) (a, b *policy.Secret) {
	pair := [2]*policy.Secret{}
	for i := range pair {
		pair[i] = &policy.Secret{Meta: policy.Meta{Type: policy.TypeSecret, Mesh: "default", Name: fmt.Sprintf("%d-%d", writer, i)}}
		pair[i].Labels = map[string]string{"n": strconv.Itoa(n), "fill": strings.Repeat(strconv.Itoa(n%10), n*37%3000)}
	}
	return pair[0], pair[1]
}

// A control plane that is killed in the midst of writing loses nothing that it acknowledged, and leaves no half of
// anything.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	var acknowledged [killWriters]int
	n := 0
	for ; n < kills || slices.Min(acknowledged[:]) < kills/2; n++ { // each third kill is one write more of each writer, or many
		runUntilKilled(t, path, [...]int{0, 1, killWriters}[n%3], &acknowledged)
		checkKilled(t, path, &acknowledged)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills; acknowledged by each writer: %v", n, acknowledged)
}

// runUntilKilled starts a writer process, and kills it some time after so many of its writers have had a write acknowledged; for 0
// that is after it was started.
func runUntilKilled(t *testing.T, path string, after int, acknowledged *[killWriters]int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killedStore+"="+path)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() { time.AfterFunc(rand.N(20*time.Millisecond), func() { _ = cmd.Process.Kill() }) })
	wrote := map[int]bool{}
	if after == 0 {
		kill()
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var w, n int
		if _, err := fmt.Sscanf(lines.Text(), "%d %d", &w, &n); err != nil {
			t.Fatalf("the writer said %q", lines.Text())
		}
		acknowledged[w], wrote[w] = n, true
		if len(wrote) >= after {
			kill()
		}
	}
	if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
		t.Fatalf("the writer ended by itself: %v, %s", err, &stderr)
	}
}

// checkKilled checks that the file has what was acknowledged, or at most the one write after it, and only whole writes.
func checkKilled(t *testing.T, path string, acknowledged *[killWriters]int) {
	t.Helper()
	s := openFile(t, path)
	defer s.Close()
	for w := range killWriters {
		a, b := killedPair(w, 0)
		kept, err := s.Get(t.Context(), a.Key())
		if err != nil {
			if acknowledged[w] > 0 {
				t.Errorf("writer %d: %d were acknowledged, and there is nothing: %v", w, acknowledged[w], err)
			}
			continue
		}
		other, err := s.Get(t.Context(), b.Key())
		if err != nil {
			t.Errorf("writer %d: half of a write is there: %v", w, err)
			continue
		}
		n, _ := strconv.Atoi(kept.Metadata().Labels["n"])
		if n != acknowledged[w] && n != acknowledged[w]+1 {
			t.Errorf("writer %d: write %d was acknowledged, and %d is there", w, acknowledged[w], n)
		}
		if a, b = killedPair(w, n); !store.Same(a, kept) || !store.Same(b, other) {
			t.Errorf("writer %d: what is there is not what write %d was", w, n)
		}
		acknowledged[w] = n // the next process goes on from there
	}
}
