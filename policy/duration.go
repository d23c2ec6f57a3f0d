package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time span as Kuma's files write it: a whole number and one of y, w, d, h, m, s or ms, such as "24h" or
// "10y"; or a Go duration such as "1h30m"; or "0". A year has 365 days, a week (w) seven. There are no negative ones.
type Duration time.Duration

const day = 24 * time.Hour

// unit is a unit of time as files write it.
type unit struct {
	name string
	span time.Duration
}

// units lists the units, the longest first.
func units() []unit {
	return []unit{
		{"y", 365 * day}, {"w", 7 * day}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second},
		{"ms", time.Millisecond},
	}
}

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the duration as files write it, in the longest unit that says it exactly; weeks are only read.
func (d Duration) String() string {
	std := time.Duration(d)
	if std == 0 {
		return "0"
	}
	for _, u := range units() {
		if u.name != "w" && std%u.span == 0 {
			return strconv.FormatInt(int64(std/u.span), 10) + u.name
		}
	}
	return std.String()
}

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "0" {
		*d = 0
		return nil
	}
	for _, u := range units() {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n > math.MaxInt64/int64(u.span) {
			return fmt.Errorf("%s is longer than can be counted", quote(s))
		}
		*d = Duration(n) * Duration(u.span)
		return nil
	}
	std, err := time.ParseDuration(s)
	if err != nil || std < 0 || strings.HasPrefix(s, "-") {
		return fmt.Errorf("%s is no time span: write a number and a unit (y, w, d, h, m, s, ms), such as 24h", quote(s))
	}
	*d = Duration(std)
	return nil
}
