package testenv

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Binary is the path of one of our programs: in $KOGUMA_BIN, or else where `make build` puts them.
func Binary(name string) (string, error) {
	return find(filepath.Join(cmp.Or(os.Getenv("KOGUMA_BIN"), "bin"), name), "make build")
}

// Envoy is the path of the real Envoy: $KOGUMA_ENVOY, or else the one that `make tools` fetches.
func Envoy() (string, error) {
	return find(cmp.Or(os.Getenv("KOGUMA_ENVOY"), filepath.Join(".tools", "envoy", "bin", "envoy")), "make tools")
}

// find is the absolute path of a file that is named from the root of the repository.
func find(path, run string) (string, error) {
	if !filepath.IsAbs(path) {
		root, err := root()
		if err != nil {
			return "", err
		}
		path = filepath.Join(root, path)
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w; run %s", err, run)
	}
	return path, nil
}

// root is the folder that has go.mod in it, here or above.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod here or above; run this from within the repository")
		}
		dir = filepath.Dir(dir)
	}
}
