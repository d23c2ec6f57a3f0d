package policy_test

import (
	"math"
	"testing"
	"time"

	"koguma/policy"
)

// Spans are a number and a unit, or as Go writes them.
func TestDurationText(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, test := range []struct {
		in   string
		want time.Duration
		out  string
	}{
		{"0", 0, "0"},
		{"0s", 0, "0"},
		{"24h", day, "1d"},
		{"10y", 3650 * day, "10y"},
		{"2w", 14 * day, "14d"},
		{"007d", 7 * day, "7d"},
		{"90m", 90 * time.Minute, "90m"},
		{"10s", 10 * time.Second, "10s"},
		{"1500ms", 1500 * time.Millisecond, "1500ms"},
		{"1h30m", 90 * time.Minute, "90m"},
		{"1.5h", 90 * time.Minute, "90m"},
		{"36h", 36 * time.Hour, "36h"},
		{"1us", time.Microsecond, "1µs"},
		{"292y", 292 * 365 * day, "292y"},
	} {
		var d policy.Duration
		if err := d.UnmarshalText([]byte(test.in)); err != nil || d.Std() != test.want {
			t.Errorf("%s is %v, %v", test.in, d.Std(), err)
		}
		if out, err := d.MarshalText(); err != nil || string(out) != test.out {
			t.Errorf("%s is written %s, %v", test.in, out, err)
		}
	}
}

func TestDurationRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "24", "-1h", "-0s", "1e9h", "1d12h", "d", "1 d", " 1d", "1D", "one", "293y", "9223372036854775808ms",
		"99999999999999999999s", "0x10s", "1_0s", "+1d", "1d\n", "٣d"} {
		var d policy.Duration
		if err := d.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q is taken as %v", in, d.Std())
		}
	}
}

// Every span that is written is read back.
func TestDurationRoundTrip(t *testing.T) {
	t.Parallel()
	for i := range 62 {
		for _, span := range []time.Duration{1 << i, 1<<i - 1, math.MaxInt64 - 1<<i, time.Duration(i) * 24 * time.Hour, time.Duration(i) * time.Second} {
			text, _ := policy.Duration(span).MarshalText()
			var d policy.Duration
			if err := d.UnmarshalText(text); err != nil || d.Std() != span {
				t.Errorf("%v is written %s and read as %v, %v", span, text, d.Std(), err)
			}
		}
	}
}
