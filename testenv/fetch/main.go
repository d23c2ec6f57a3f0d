// Fetch brings a Postgres for the tests into a folder, in place of what is there: go run ./testenv/fetch 17.5.0 .tools/postgres
//
// What it brings has run before anybody finds it in the folder.
package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"

	"koguma/testenv"
)

// sums are the SHA-256 of the archives, by version and architecture.
var sums = map[string]string{
	"17.5.0-amd64": "8f438e206259d3ec5be6fb8ee6180f5d46234156659ed1238f6ab4806cfccf0f",
	"17.5.0-arm64": "b931564ba20d4009d70c37ceb27109213f696cfd507c4ecb769c6d6762454a1c",
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: fetch VERSION FOLDER")
		os.Exit(2)
	}
	if err := fetch(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "fetch: Postgres %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func fetch(version, dir string) error {
	sum, ok := sums[version+"-"+runtime.GOARCH]
	if !ok {
		return fmt.Errorf("it is not known what it must hash to on %s: add that to sums", runtime.GOARCH)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	work := dir + ".new" // beside it, so that what is fetched can be moved
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o755)); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := unprivileged(work, func() error { return try(version, work) }); err != nil {
		return err
	}
	if err := check(filepath.Join(work, "cache"), sum); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(filepath.Join(work, "postgres"), dir)
}

// unprivileged runs f as somebody to whom dir belongs then: as root, Postgres refuses to run.
func unprivileged(dir string, f func() error) (err error) {
	if os.Getuid() != 0 {
		return f()
	}
	const id = testenv.Nobody
	// Root's id is kept in reserve, which no program that is started inherits.
	if err := errors.Join(os.Chown(dir, id, id), syscall.Setresgid(id, id, 0), syscall.Setresuid(id, id, 0)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, syscall.Setresuid(0, 0, 0), syscall.Setresgid(0, 0, 0)) }()
	return f()
}

// try fetches into the folder, and starts and stops a server there.
func try(version, work string) error {
	ports, err := testenv.FreePorts("127.0.0.1", 1)
	if err != nil {
		return err
	}
	if err := errors.Join(os.Chdir(work), os.Setenv("TMPDIR", work)); err != nil { // where it leaves its log
		return err
	}
	p := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(embeddedpostgres.PostgresVersion(version)).
		Port(uint32(ports[0])).
		CachePath(filepath.Join(work, "cache")).
		RuntimePath(filepath.Join(work, "run")).
		BinariesPath(filepath.Join(work, "postgres")).
		StartParameters(map[string]string{"unix_socket_directories": ""}).
		Logger(io.Discard))
	if err := p.Start(); err != nil {
		return err
	}
	return p.Stop()
}

// check compares the archive with what it must hash to.
func check(cache, want string) error {
	archives, err := filepath.Glob(filepath.Join(cache, "*.txz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("there are %d archives in %s, %v", len(archives), cache, err)
	}
	data, err := os.ReadFile(archives[0])
	if err != nil {
		return err
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
		return fmt.Errorf("what came has the SHA-256 %s, and should have %s", got, want)
	}
	return nil
}
