package policy

// TrafficPermission lets the services that a source names in at the inbounds that a destination names. Under mTLS
// nobody gets in without one.
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
