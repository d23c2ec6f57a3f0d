package registry

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"koguma/cp/problem"
	"koguma/policy"
)

// Precondition is what must be there for a write to happen, as the headers of its request say. The zero value is whatever
// is there, or nothing.
type Precondition struct {
	absent  bool   // If-None-Match: *
	exists  bool   // If-Match: *
	version uint64 // If-Match: "12"
}

// ETag is the version of a resource as the header ETag has it.
func ETag(version uint64) string { return fmt.Sprintf("%q", strconv.FormatUint(version, 10)) }

// ParsePrecondition reads the headers of a PUT or DELETE. What it does not take is an error: a condition that is passed over
// would let a write through that was not meant to happen.
func ParsePrecondition(r *http.Request) (Precondition, error) {
	var p Precondition
	for _, name := range [...]string{"If-Unmodified-Since", "If-Modified-Since", "If-Range"} {
		if r.Header.Get(name) != "" {
			return p, problem.Parameter(name, "is not known here; use If-Match with the ETag of the answer to GET")
		}
	}
	match, none := r.Header.Values("If-Match"), r.Header.Values("If-None-Match")
	switch {
	case len(match)+len(none) == 0:
		return p, nil
	case len(match)+len(none) > 1:
		return p, problem.Parameter("If-Match", "give one of If-Match and If-None-Match, once")
	case len(none) == 1:
		p.absent = none[0] == "*"
		if !p.absent || r.Method == http.MethodDelete {
			return p, problem.Parameter("If-None-Match", "can only be *, in a PUT that is to create something")
		}
		return p, nil
	}
	p.exists = match[0] == "*"
	if p.exists {
		return p, nil
	}
	var err error
	p.version, err = strconv.ParseUint(strings.Trim(match[0], `"`), 10, 63)
	if err != nil || p.version == 0 || match[0] != ETag(p.version) {
		return p, problem.Parameter("If-Match", `must be * or what the header ETag of GET said, in quotes: "12"`)
	}
	return p, nil
}

// check refuses a write over old, nil for nothing, that was not to happen. The answer says what is there, and how to go on.
func (p Precondition) check(key policy.Key, old policy.Resource) error {
	switch {
	case old == nil && (p.exists || p.version > 0):
		return problem.Conflict(key, "it is not there, and If-Match is to change what is; leave the header out, or create it with If-None-Match: *")
	case old == nil:
		return nil
	}
	now := old.Metadata().Version
	switch {
	case p.absent:
		return problem.Conflict(key, fmt.Sprintf("it exists, at version %d, and If-None-Match: * is only to create it; read it, and change it with If-Match: %s", now, ETag(now)))
	case p.version > 0 && p.version != now:
		return problem.Conflict(key, fmt.Sprintf("it is at version %d, and If-Match expects %d: somebody has changed it since; read it again, "+
			"make the change to what it is now, and send that with If-Match: %s", now, p.version, ETag(now)))
	}
	return nil
}
