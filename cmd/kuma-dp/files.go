package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"koguma/policy"
	"koguma/token"
)

// The most bytes that are read of each kind of file.
const (
	maxToken     = 8 << 10
	maxCA        = 1 << 20
	maxDataplane = 1 << 20
)

// readToken is the token, from wherever it was given.
func (s *settings) readToken(log *slog.Logger) (token.Raw, error) {
	text := s.token
	switch {
	case s.token != "" && s.tokenFile != "":
		return "", errors.New("both --dataplane-token-file and --dataplane-token (or KUMA_DATAPLANE_RUNTIME_TOKEN) are given; give one of them")
	case s.tokenFile != "":
		data, mode, err := readFile(s.tokenFile, maxToken)
		if err != nil {
			return "", fmt.Errorf("--dataplane-token-file: %w", err)
		}
		if mode&0o077 != 0 {
			log.Warn("others on this host can read the token; chmod 600 it", "file", s.tokenFile)
		}
		text = string(data)
		if text == "" {
			return "", fmt.Errorf("--dataplane-token-file: %s is empty", s.tokenFile)
		}
	case len(s.token) > maxToken:
		return "", fmt.Errorf("the token has more than %d bytes", maxToken)
	}
	text = strings.TrimSuffix(text, "\n")
	return token.Raw(strings.TrimSuffix(text, "\r")), nil
}

// readCA is the CA of the control plane, nil if none was given. The text wins over the file, as it always did.
func (s *settings) readCA() ([]byte, error) {
	if s.caText != "" {
		return []byte(s.caText), nil
	}
	if s.caFile == "" {
		return nil, nil
	}
	data, _, err := readFile(s.caFile, maxCA)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--ca-cert-file: %w", err)
	case len(data) == 0:
		return nil, fmt.Errorf("--ca-cert-file: %s is empty", s.caFile)
	}
	return data, nil
}

// readDataplane is the definition of the Dataplane, nil if none was given.
func (s *settings) readDataplane(stdin io.Reader) (*policy.Dataplane, error) {
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
		data, _, err = readFile(s.dataplaneFile, maxDataplane)
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

// readFile reads a regular file: a pipe or a device could keep us waiting, or never end.
func readFile(path string, most int64) ([]byte, os.FileMode, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := readAll(f, path, most)
	return data, info.Mode().Perm(), err
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
