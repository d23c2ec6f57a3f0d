package token

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"koguma/policy"
)

// MaxLife is the longest that a token lives, and how long it does if nobody says.
const MaxLife = 10 * 365 * 24 * time.Hour

// maxTags bounds the tags in a token, in bytes of JSON: a token travels in a header.
const maxTags = 4 << 10

// Request is what somebody wants to be in a token, whoever signs it.
type Request struct {
	Name, Mesh, Type string
	Tags             map[string][]string
	Life             time.Duration // from now on
}

// Claims are the claims for the request: the tags' values sorted, each once. The error is a [policy.Invalid] with
// everything that is wrong with it, by the names that the fields have in the API.
func (r Request) Claims(now time.Time) (Claims, error) {
	var bad policy.Invalid
	add := func(field string, err error) {
		if err != nil {
			bad.Fields = append(bad.Fields, policy.FieldError{Field: field, Reason: err.Error()})
		}
	}
	if r.Name != "" {
		add("name", policy.ValidName(r.Name))
	}
	add("mesh", policy.ValidMeshName(r.Mesh))
	if !validType(r.Type) {
		add("type", fmt.Errorf("must be %s, %s or %s", TypeDataplane, TypeIngress, TypeEgress))
	}
	tags := map[string][]string{}
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		field := fmt.Sprintf("tags[%q]", key)
		add(field, policy.ValidTagKey(key))
		if len(r.Tags[key]) == 0 {
			add(field, errors.New("must have a value: without one it fits nothing"))
		}
		for _, v := range r.Tags[key] {
			add(field, policy.ValidTagValue(v))
		}
		tags[key] = slices.Compact(slices.Sorted(slices.Values(r.Tags[key])))
	}
	if data, err := policy.Encode(tags); err != nil || len(data) > maxTags {
		add("tags", fmt.Errorf("must be at most %d bytes of JSON", maxTags))
	}
	switch {
	case r.Life < time.Second:
		add("validFor", errors.New("must be at least 1s: such a token would be of no use"))
	case r.Life > MaxLife:
		add("validFor", fmt.Errorf("must be at most %v, which is 10 years", MaxLife))
	}
	if bad.Fields != nil {
		return Claims{}, &bad
	}
	return Claims{Name: r.Name, Mesh: r.Mesh, Tags: tags, Type: r.Type, ExpiresAt: now.Add(r.Life)}, nil
}
