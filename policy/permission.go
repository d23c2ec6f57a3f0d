package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// TrafficPermission lets the peers that a source picks in at the inbounds that a destination picks. Under mTLS nobody gets
// in without one.
type TrafficPermission struct {
	Meta
	Sources      []Selector `json:"sources"`
	Destinations []Selector `json:"destinations"`
}

// Selector picks by tags. The value Any stands for every value.
type Selector struct {
	Match map[string]string `json:"match"`
}

// Any, as a tag's value in a selector, stands for every value.
const Any = "*"

// Validate implements [Resource].
func (p *TrafficPermission) Validate() error {
	var bad problems
	bad.checkMeta(&p.Meta, TypeTrafficPermission)
	bad.checkSelectors("sources", p.Sources)
	bad.checkMatchers("sources", p.Sources)
	bad.checkSelectors("destinations", p.Destinations)
	return bad.err()
}

func (p *problems) checkSelectors(field string, selectors []Selector) {
	if len(selectors) == 0 {
		p.add(field, "must have at least one element")
	}
	for i, s := range selectors {
		p.checkMatch(fmt.Sprintf("%s[%d].match", field, i), s.Match)
	}
}

// checkMatch checks tags that others are compared with.
func (p *problems) checkMatch(at string, match map[string]string) {
	if len(match) == 0 {
		p.add(at, "must have at least one tag; all services are %s: %q", TagService, Any)
	}
	for _, k := range slices.Sorted(maps.Keys(match)) {
		p.check(tagField(at, k), ValidTagKey(k))
		switch v := match[k]; {
		case v == Any:
		case strings.Contains(v, Any):
			p.add(tagField(at, k), "%s: only the whole value can be %q", quote(v), Any)
		default:
			p.check(tagField(at, k), ValidTagValue(v))
		}
	}
}
