package policy

// Subset reports whether all of these tags are among those.
func Subset(these, those map[string]string) bool {
	for k, v := range these {
		if have, ok := those[k]; !ok || have != v {
			return false
		}
	}
	return true
}
