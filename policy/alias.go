package policy

import "strings"

// Paths are the segments of REST paths that mean the kind: its own, and its plural where that differs.
func (k Kind) Paths() []string {
	if k.Plural == k.Path {
		return []string{k.Path}
	}
	return []string{k.Path, k.Plural}
}

// Singulars are the words for one of the kind on the command line: its own, and that without dashes where it has any.
func (k Kind) Singulars() []string { return undashed(k.Singular) }

// Plurals are the words for several of the kind on the command line, as [Kind.Singulars].
func (k Kind) Plurals() []string { return undashed(k.Plural) }

func undashed(word string) []string {
	if other := strings.ReplaceAll(word, "-", ""); other != word {
		return []string{word, other}
	}
	return []string{word}
}
