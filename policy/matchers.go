package policy

import "fmt"

// MaxMatchers bounds what a proxy compares the certificate of a peer with at one inbound: services and tags, each counted
// wherever it stands. What is denied stands with each of those who are let in and from whom it is taken, so a hundred of these
// and a hundred tags that are denied are ten thousand.
const MaxMatchers = 5000

// matchers is what the source alone comes to, without exceptions.
func (s Source) matchers() int { return 1 + len(s.Tags) }

// Check is an error where what the permissions say together is more than [MaxMatchers]. It counts no further than that, and makes
// nothing.
func (m *Merged) Check() error {
	if len(m.clauses) > MaxMatchers {
		return fmt.Errorf("MeshTrafficPermissions %s have %d elements for one inbound, and %d are the most that a proxy is given",
			m, len(m.clauses), MaxMatchers)
	}
	admitted := m.matchers(func(a Action) bool { return a != Deny })
	if doubted := m.matchers(func(a Action) bool { return a == ShadowDeny }); admitted+doubted > MaxMatchers {
		return fmt.Errorf("MeshTrafficPermissions %s have a proxy compare a peer with more than %d services and tags at one inbound, "+
			"as what is denied by tags is taken from each of those who are let in; deny services rather than tags, or let in fewer",
			m, MaxMatchers)
	}
	return nil
}

// matchers is at least what [Merged.sources] comes to. It counts no further than beyond [MaxMatchers].
func (m *Merged) matchers(is func(Action) bool) (n int) {
	var others []Source
	before := map[string]bool{}
	for i := range m.clauses {
		c := &m.clauses[i]
		text := c.source.String()
		if before[Any] || before[c.source.Service] || before[text] {
			continue // it never decides, and that is quickly seen
		}
		before[text] = true
		if !is(c.action) {
			others = append(others, c.source)
			continue
		}
		n += c.source.matchers()
		for _, o := range others {
			if !o.disjoint(c.source) {
				n += o.matchers()
			}
		}
		if n > MaxMatchers {
			break
		}
	}
	return n
}

// checkMatchers finds more sources than a proxy is given.
func (p *problems) checkMatchers(field string, sources []Selector) {
	n := 0
	for i := range sources {
		n += sources[i].source().matchers()
	}
	if n > MaxMatchers {
		p.add(field, "have a proxy compare a peer with %d services and tags, and %d are the most", n, MaxMatchers)
	}
}
