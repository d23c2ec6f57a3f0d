package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"koguma/mistake"
	"koguma/policy"
	"koguma/token"
)

// The most bytes that are read of each kind of file.
const (
	maxCA        = 1 << 20
	maxDataplane = 1 << 20
)

// readCA is the CA of the control plane, nil if none was given. The text wins over the file, as it always did.
func (s *settings) readCA() ([]byte, error) {
	if s.caText != "" {
		return []byte(s.caText), nil
	}
	if s.caFile == "" {
		return nil, nil
	}
	data, _, err := token.ReadFile(s.caFile, maxCA)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--ca-cert-file: %w", err)
	case len(data) == 0:
		return nil, fmt.Errorf("--ca-cert-file: %s is empty", s.caFile)
	}
	return data, nil
}

// localCA finds the CA that a control plane on this host has left in its work directory, and says once that it did. What
// others than its owner could have written there is an error, and so is what belongs to neither root nor us.
func localCA(environ []string, log *slog.Logger) func() ([]byte, error) {
	dir, ok := lookup(environ, "KUMA_GENERAL_WORK_DIR")
	if home, _ := lookup(environ, "HOME"); (!ok || dir == "") && home != "" {
		dir = filepath.Join(home, ".kuma")
	}
	if dir == "" {
		return nil
	}
	path := filepath.Join(dir, "kuma-cp-ca.crt")
	found := sync.OnceFunc(func() {
		log.Info("the control plane is known by the CA that the one on this host has left", "file", path)
	})
	return func() ([]byte, error) {
		data, info, err := token.ReadFile(path, maxCA)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("CA of the control plane on this host: %w; give --ca-cert-file", err)
		}
		owner := info.Sys().(*syscall.Stat_t).Uid
		if (owner != 0 && int(owner) != os.Geteuid()) || info.Mode().Perm()&0o022 != 0 {
			return nil, fmt.Errorf("CA of the control plane on this host: others can write %s; give --ca-cert-file", path)
		}
		found()
		return data, nil
	}
}

// readDataplane is the definition of the Dataplane, nil if none was given.
func (s *settings) readDataplane(stdin io.Reader) (*policy.Dataplane, error) {
	d, err := s.parseDataplane(stdin)
	var next []string
	if s.dataplaneFile != "" && s.dataplaneFile != "-" {
		next = []string{"${EDITOR:-vi} " + mistake.Word(s.dataplaneFile),
			mistake.Command("kuma-dp", "run", "--dataplane-file", s.dataplaneFile) + " ..."}
	}
	return d, mistake.New(mistake.DataplaneInvalid, err, next...)
}

func (s *settings) parseDataplane(stdin io.Reader) (*policy.Dataplane, error) {
	var (
		data []byte
		from = "--dataplane"
		err  error
	)
	switch {
	case s.dataplane != "" && s.dataplaneFile != "":
		return nil, errors.New("both --dataplane-file and --dataplane are given; give one of them")
	case s.dataplane != "":
		data = []byte(s.dataplane)
	case s.dataplaneFile == "-":
		from = "standard input"
		data, err = readAll(stdin, from, maxDataplane)
	case s.dataplaneFile != "":
		from = s.dataplaneFile
		data, _, err = token.ReadFile(s.dataplaneFile, maxDataplane)
	case len(s.vars) > 0:
		return nil, errors.New("--dataplane-var without --dataplane-file or --dataplane")
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("dataplane definition: %w", err)
	}
	r, err := policy.ParseVars(data, s.vars)
	if err != nil {
		return nil, fmt.Errorf("dataplane definition in %s: %w", from, err)
	}
	d, ok := r.(*policy.Dataplane)
	if !ok {
		return nil, fmt.Errorf("dataplane definition in %s: it is a %s, not a Dataplane", from, r.Metadata().Type)
	}
	return d, nil
}

func readAll(r io.Reader, from string, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", from, err)
	case int64(len(data)) > most:
		return nil, fmt.Errorf("%s has more than %d bytes", from, most)
	}
	return data, nil
}
