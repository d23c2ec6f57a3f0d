package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Invalid is everything that is wrong with a resource.
type Invalid struct {
	Fields []FieldError
}

// FieldError says what is wrong with one field, such as networking.inbound[0].port.
type FieldError struct {
	Field, Reason string
}

// Error implements error: all problems on one line.
func (e *Invalid) Error() string {
	s := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		s[i] = f.Field + ": " + f.Reason
	}
	return strings.Join(s, "; ")
}

// problems collects what Validate finds.
type problems []FieldError

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// check adds err, if it is one.
func (p *problems) check(field string, err error) {
	if err != nil {
		p.add(field, "%v", err)
	}
}

// err is an [*Invalid] if there are problems.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &Invalid{Fields: p}
}

const (
	maxName     = 253
	maxMeshName = 63
	maxTag      = 255
)

var (
	dnsName    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	tagKey     = regexp.MustCompile(`^[a-zA-Z0-9.\-_:/]+$`)
	pathPart   = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`) // a segment of a SPIFFE ID's path
	labelValue = regexp.MustCompile(`^[ -~]*$`)
)

// ValidName checks the name of a resource: an RFC 1123 subdomain.
func ValidName(s string) error {
	switch {
	case s == "":
		return errors.New("must not be empty")
	case len(s) > maxName:
		return fmt.Errorf("must have at most %d characters", maxName)
	case !dnsName.MatchString(s):
		return errors.New("must be lower case letters, digits, - and ., and begin and end each part with a letter or digit")
	}
	return nil
}

// ValidMeshName checks the name of a mesh. It is the trust domain of every identity in the mesh, and part of the names
// of its secrets.
func ValidMeshName(s string) error {
	if err := ValidName(s); err != nil {
		return err
	}
	if len(s) > maxMeshName {
		return fmt.Errorf("must have at most %d characters", maxMeshName)
	}
	return nil
}

// ValidTagValue checks the value of a tag. That of kuma.io/service is the path of an identity, so all values are one
// segment of a SPIFFE ID's path.
func ValidTagValue(s string) error {
	switch {
	case s == "":
		return errors.New("must not be empty")
	case len(s) > maxTag:
		return fmt.Errorf("must have at most %d characters", maxTag)
	case s == "." || s == ".." || !pathPart.MatchString(s):
		return errors.New("must be letters, digits, ., _ and -, and not . or .. alone, to be part of a SPIFFE ID")
	}
	return nil
}

// ValidTagKey checks the name of a tag. Of those that begin with kuma.io/ only the known ones may be used.
func ValidTagKey(s string) error {
	switch {
	case len(s) > maxTag:
		return fmt.Errorf("the name must have at most %d characters", maxTag)
	case !tagKey.MatchString(s):
		return errors.New("the name must be letters, digits, ., -, _, : and /")
	}
	domain, _, _ := strings.Cut(s, "/")
	if domain != "kuma.io" && !strings.HasSuffix(domain, ".kuma.io") {
		return nil
	}
	switch s {
	case TagService, TagProtocol, TagZone, TagInstance:
		return nil
	}
	return fmt.Errorf("tags of %s are reserved; the known ones are %s, %s, %s and %s",
		domain, TagService, TagProtocol, TagZone, TagInstance)
}

// tagField is how a problem names a tag.
func tagField(field, key string) string { return fmt.Sprintf("%s[%q]", field, key) }

// onlyZone is the zone that everything is in.
const onlyZone = "default"

// checkTags checks the tags of something that stands for a service.
func (p *problems) checkTags(field string, tags map[string]string) {
	if tags[TagService] == "" {
		p.add(tagField(field, TagService), "must be given: it says which service this is")
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		at := tagField(field, k)
		p.check(at, ValidTagKey(k))
		if k == TagService && tags[k] == "" {
			continue // said above
		}
		p.check(at, ValidTagValue(tags[k]))
		if k == TagProtocol && !slices.Contains(protocols(), Protocol(tags[k])) {
			p.add(at, "%s is no protocol: must be one of %v", quote(tags[k]), protocols())
		}
		if k == TagZone && tags[k] != onlyZone {
			p.add(at, "there is one zone here, and it is called %s; nobody can be in another", onlyZone)
		}
	}
}

// checkMeta checks what all resources have.
func (p *problems) checkMeta(m *Meta, t Type) {
	if m.Type != t {
		p.add("type", "must be %s", t)
	}
	if t == TypeMesh || t == TypeGlobalSecret || t == TypeControlPlane {
		if m.Mesh != "" {
			p.add("mesh", "must be left out: a %s belongs to no mesh", t)
		}
	} else {
		p.check("mesh", ValidMeshName(m.Mesh))
	}
	if t == TypeMesh {
		p.check("name", ValidMeshName(m.Name))
	} else {
		p.check("name", ValidName(m.Name))
	}
	p.checkLabels("labels", m.Labels)
}

func (p *problems) checkLabels(field string, labels map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		at := tagField(field, k)
		if !tagKey.MatchString(k) || len(k) > maxTag {
			p.add(at, "the name must be at most %d letters, digits, ., -, _, : and /", maxTag)
		}
		if v := labels[k]; !labelValue.MatchString(v) || len(v) > maxTag {
			p.add(at, "must be at most %d printable ASCII characters", maxTag)
		}
	}
}
