package authority

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"koguma/policy"
	"koguma/token"
)

// maxSource is how large a file may be that something is read from, in bytes.
const maxSource = 128 << 10

// source says where a part of a configuration is: by exactly one of these. The fields are in the order of the alphabet, in
// which a [policy.Document] has them.
type source struct {
	File         string       `json:"file,omitempty"`   // read by the control plane
	Inline       policy.Bytes `json:"inline,omitempty"` // base64
	InlineString string       `json:"inlineString,omitempty"`
	Secret       string       `json:"secret,omitempty"` // the name of one of the mesh
}

// Format implements [fmt.Formatter]: whatever the verb, what is inline stays hidden.
func (s source) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.name()) }

// name is what a message calls it.
func (s source) name() string {
	switch {
	case s.File != "":
		return "file " + s.File
	case s.Secret != "":
		return fmt.Sprintf("secret %q", s.Secret)
	}
	return "inline"
}

// inline is what is in the configuration itself, nil if it is elsewhere.
func (s source) inline() []byte {
	if s.InlineString != "" {
		return []byte(s.InlineString)
	}
	return s.Inline
}

// check refuses a source that is none, or ambiguous.
func (s source) check(field string) error {
	given := 0
	for _, is := range []bool{s.File != "", len(s.Inline) > 0, s.InlineString != "", s.Secret != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return invalid(field, "must have exactly one of secret, file, inline and inlineString, and not empty")
	}
	if s.Secret != "" {
		if err := policy.ValidName(s.Secret); err != nil {
			return invalid(field+".secret", "%v", err)
		}
	}
	return nil
}

// reader reads sources, and remembers the files. Its error is about the first field that could not be read.
type reader struct {
	secret func(name string) []byte
	files  files
	err    error
}

// read is what a source has, nil if it cannot be read.
func (r *reader) read(field string, s source) []byte {
	fail := func(format string, args ...any) []byte {
		if r.err == nil {
			r.err = invalid(field, format, args...)
		}
		return nil
	}
	switch {
	case s.Secret != "":
		data := r.secret(s.Secret)
		if data == nil {
			return fail("there is no secret %q in the mesh; apply it first", s.Secret)
		}
		return data
	case s.File != "":
		data, _, err := token.ReadFile(s.File, maxSource)
		if err != nil {
			return fail("the control plane cannot read it: %v", err)
		}
		r.files = append(r.files, file{s.File, sha256.Sum256(data)})
		return data
	}
	return s.inline()
}

// files are what an authority was read from.
type files []file

type file struct {
	path string
	sum  [sha256.Size]byte
}

// Stale implements [Reloader].
func (f files) Stale() bool {
	return slices.ContainsFunc(f, func(f file) bool {
		data, _, err := token.ReadFile(f.path, maxSource)
		return err == nil && sha256.Sum256(data) != f.sum
	})
}

// sealKey moves a key that is inline into a secret, which it returns: conf, whose key it is, refers to that, and b has conf.
func sealKey(mesh string, b *policy.Backend, conf any, key *source) (map[string][]byte, error) {
	data := key.inline()
	if data == nil {
		return nil, nil
	}
	name := policy.ProvidedKeyName(mesh, b.Name)
	*key = source{Secret: name}
	var err error
	b.Conf, err = policy.DocumentOf(conf)
	return map[string][]byte{name: data}, err
}
