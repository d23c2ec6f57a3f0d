package policy

import (
	"fmt"
	"strings"
)

// NameBlockers is those that are waited for, for a message, the first few of many.
func NameBlockers(list []Blocker) string {
	const most = 10
	var parts []string
	for _, b := range list[:min(len(list), most)] {
		if b.Proxy != "" {
			b.Why = b.Proxy + ": " + b.Why
		}
		parts = append(parts, b.Why)
	}
	if len(list) > most {
		parts = append(parts, fmt.Sprintf("and %d more", len(list)-most))
	}
	return strings.Join(parts, "; ")
}
