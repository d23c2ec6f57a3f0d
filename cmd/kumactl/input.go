package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"koguma/policy"
)

// maxInput bounds what is read from files or stdin, in bytes.
const maxInput = 16 << 20

// input is documents, and where they came from.
type input struct {
	text  []byte
	files []inputFile
}

// inputFile is a file whose text begins at a line of the input.
type inputFile struct {
	name string
	line int // 1 is the first
}

// locate names the file, and the line in it, for a line of the input.
func (in *input) locate(line int) (file string, lineInFile int) {
	i, exact := slices.BinarySearchFunc(in.files, line, func(f inputFile, line int) int { return cmp.Compare(f.line, line) })
	if !exact {
		i--
	}
	f := in.files[max(0, i)]
	return f.name, line - f.line + 1
}

// place says in which file an error is.
func (in *input) place(err error) error {
	e, ok := errors.AsType[*policy.SyntaxError](err)
	if !ok {
		return err // about the variables, which are for all files
	}
	file, line := in.locate(e.Line)
	return fmt.Errorf("%s: %w", file, &policy.SyntaxError{Line: line, Column: e.Column, Path: e.Path, Reason: e.Reason})
}

// add appends the text of a file, as documents of its own.
func (in *input) add(name string, text []byte) error {
	if !utf8.Valid(text) {
		return fmt.Errorf("%s is not text in UTF-8", name)
	}
	if len(in.files) > 0 {
		in.text = append(bytes.TrimRight(in.text, "\n"), "\n---\n"...)
	}
	in.files = append(in.files, inputFile{name, 1 + bytes.Count(in.text, []byte("\n"))})
	in.text = append(in.text, text...)
	if len(in.text) > maxInput {
		return fmt.Errorf("together with %s it is more than %d MiB: apply less at once", name, maxInput>>20)
	}
	return nil
}

func errTooLarge(name string) error {
	return fmt.Errorf("%s holds more than %d MiB: split it", name, maxInput>>20)
}

// readInput reads a file, the .yaml, .yml and .json files of a directory by name, or, for "-", stdin.
func readInput(path string, stdin io.Reader) (*input, error) {
	in := new(input)
	if strings.Contains(path, "://") {
		return nil, fmt.Errorf("%s: kumactl does not fetch from the network: download the file, look at it, then apply it", path)
	}
	if path == "-" {
		text, err := readAll("stdin", stdin)
		if err != nil {
			return nil, err
		}
		return in, in.add("stdin", text)
	}
	names, err := filesOf(path)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := readFile(name)
		if err != nil {
			return nil, err
		}
		if err := in.add(name, text); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// filesOf is the file itself, or the files of a directory that hold resources.
func filesOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".yaml", ".yml", ".json":
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s holds no .yaml, .yml or .json file", path)
	}
	return names, nil
}

// readOne reads a regular file, or stdin for "-".
func (c *cli) readOne(path string) ([]byte, error) {
	if path == "-" {
		return readAll("stdin", c.stdin)
	}
	return readFile(path)
}

// readFile reads a regular file. Anything else is refused without waiting on it: a pipe might never end.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory, not a file", path)
	case info.Mode()&fs.ModeNamedPipe != 0:
		return nil, fmt.Errorf("%s is a pipe, not a file: to read from a pipe, give - in its place", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return readAll(path, f)
}

func readAll(name string, r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", name, err)
	case len(text) > maxInput:
		return nil, errTooLarge(name)
	case len(bytes.TrimSpace(text)) == 0:
		return nil, errors.New(name + " is empty")
	}
	return text, nil
}
