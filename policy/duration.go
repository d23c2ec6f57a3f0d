package policy

import "time"

// Duration is a time span as Kuma's files write it: a whole number and one of y, d, h, m, s or ms, such as "24h" or
// "10y"; or a Go duration such as "1h30m". A year has 365 days, a week (w) seven.
type Duration time.Duration

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }
