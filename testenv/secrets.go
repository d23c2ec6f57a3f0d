package testenv

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Places are where a secret could have been left.
type Places struct {
	Dirs   []string          // every file below them
	Except []string          // but neither these files, nor what is below these folders
	PIDs   []int             // the argument list and the environment of each
	Data   map[string][]byte // anything else, by the name that messages give it: logs, configuration dumps
}

// KeyMarks are what every private key in PEM has in it, and how the DER of the kinds of keys in a mesh begins: RSA
// (PKCS #1), EC P-256 (SEC 1) and EC P-256 (PKCS #8).
func KeyMarks() []string {
	return []string{
		"PRIVATE KEY-----",
		"\x02\x01\x00\x02\x82\x01\x01\x00",
		"\x30\x77\x02\x01\x01\x04\x20",
		"\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
	}
}

// FindSecret says where one of the needles stands, as it is or in base64, sorted; and how many things it looked at. A file
// or process that is gone by the time it is looked at holds nothing. The environment of a process that is not dumpable is
// looked at only if we are root: the kernel shows it to nobody else.
func FindSecret(p Places, needles ...string) (found []string, looked int, err error) {
	var s search
	for _, n := range needles {
		s.forms = append(s.forms, spellings(n)...)
	}
	for name, data := range p.Data {
		s.look(name, data)
	}
	for _, pid := range p.PIDs {
		s.read(fmt.Sprintf("argument list of process %d", pid), fmt.Sprintf("/proc/%d/cmdline", pid))
		s.read(fmt.Sprintf("environment of process %d", pid), fmt.Sprintf("/proc/%d/environ", pid))
	}
	for _, dir := range p.Dirs {
		s.walk(dir, p.Except)
	}
	slices.Sort(s.found)
	return s.found, s.looked, errors.Join(s.errs...)
}

// search is a FindSecret that is under way.
type search struct {
	forms  [][]byte
	found  []string
	looked int
	errs   []error
}

func (s *search) look(name string, content []byte) {
	s.looked++
	if slices.ContainsFunc(s.forms, func(f []byte) bool { return bytes.Contains(content, f) }) {
		s.found = append(s.found, name)
	}
}

func (s *search) read(name, path string) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH): // gone
	case errors.Is(err, fs.ErrPermission) && strings.HasPrefix(path, "/proc/"): // not dumpable
	case err != nil:
		s.errs = append(s.errs, err)
	default:
		s.look(name, b)
	}
}

func (s *search) walk(dir string, except []string) {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case slices.Contains(except, path) && e.IsDir():
			return fs.SkipDir
		case slices.Contains(except, path) || !e.Type().IsRegular():
			return nil
		}
		s.read("file "+path, path)
		return nil
	})
	s.errs = append(s.errs, err)
}

// spellings are the needle and the part of its base64 that does not depend on what stands around it, for each of the
// three ways in which it can fall into groups of three bytes.
func spellings(needle string) [][]byte {
	all := [][]byte{[]byte(needle)}
	for before := range 3 {
		whole := []byte(base64.StdEncoding.EncodeToString(append(make([]byte, before), needle...)))
		first := (before*8 + 5) / 6
		last := (before + len(needle)) * 8 / 6
		all = append(all, whole[first:last])
	}
	return all
}
