package testenv

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// FindSecret says where one of the needles stands, as it is or in base64, a line each; and how many things it looked
// at. A file or process that is gone by the time it is looked at holds nothing.
func FindSecret(p Places, needles ...string) (found []string, looked int, err error) {
	var forms [][]byte
	for _, n := range needles {
		forms = append(forms, spellings(n)...)
	}
	look := func(name string, content []byte) {
		looked++
		for _, f := range forms {
			if bytes.Contains(content, f) {
				found = append(found, name)
				return
			}
		}
	}
	for name, data := range p.Data {
		look(name, data)
	}
	for _, pid := range p.PIDs {
		for file, name := range map[string]string{"cmdline": "argument list", "environ": "environment"} {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err != nil {
				continue
			}
			look(fmt.Sprintf("%s of process %d", name, pid), b)
		}
	}
	for _, dir := range p.Dirs {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			switch {
			case os.IsNotExist(err):
				return nil
			case err != nil:
				return err
			case slices.Contains(p.Except, path) && e.IsDir():
				return fs.SkipDir
			case slices.Contains(p.Except, path) || !e.Type().IsRegular():
				return nil
			}
			b, err := os.ReadFile(path)
			if os.IsNotExist(err) {
				return nil
			}
			look("file "+path, b)
			return err
		})
		if err != nil {
			return found, looked, err
		}
	}
	return found, looked, nil
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
