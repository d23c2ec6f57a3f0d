package policy

import (
	"maps"
	"strings"
)

// without is the source but for these others, in a fixed form: it has only what could be among it, and says no more of that
// than it has to. ok is false if nobody is left.
func (s Source) without(others []Source) (rest Source, ok bool) {
	var except []Source
	for _, o := range others {
		if o.includes(s) {
			return Source{}, false
		}
		if !o.disjoint(s) {
			except = append(except, o.within(s))
		}
	}
	s.Except = reduce(except)
	return s, true
}

// disjoint reports whether no service is among both.
func (s Source) disjoint(o Source) bool {
	switch {
	case s.Service != "":
		return !o.names(s.Service)
	case o.Service != "":
		return !s.names(o.Service)
	}
	return !strings.HasPrefix(s.Prefix, o.Prefix) && !strings.HasPrefix(o.Prefix, s.Prefix)
}

// within is whoever is among both s, which has no exceptions, and o, said as what whoever is among o has to be besides.
func (s Source) within(o Source) Source {
	switch {
	case o.Service != "":
		s.Service, s.Prefix = o.Service, ""
	case s.Service == "" && len(o.Prefix) > len(s.Prefix):
		s.Prefix = o.Prefix
	}
	s.Tags = maps.Clone(s.Tags)
	maps.DeleteFunc(s.Tags, func(k, v string) bool { have, ok := o.Tags[k]; return ok && (v == Any || v == have) })
	return s
}
