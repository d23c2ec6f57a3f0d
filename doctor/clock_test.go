package doctor_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"koguma/doctor"
)

// A clock is judged by how far it must be off at least, as the date has whole seconds and the answer took its time.
func TestClock(t *testing.T) {
	t.Parallel()
	there := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name           string
		sent, received time.Duration // after there, by the clock here
		want           doctor.Result
		say            string
	}{
		{"the same", 0, 10 * time.Millisecond, doctor.OK, "to within 1s"},
		{"late in the second", 900 * time.Millisecond, 910 * time.Millisecond, doctor.OK, "to within 1s"},
		{"a slow answer", -9 * time.Second, 9 * time.Second, doctor.OK, "to within 1s"},
		{"3 s ahead", 4 * time.Second, 4 * time.Second, doctor.OK, "to within 3s"},
		{"10 s ahead", 11 * time.Second, 11 * time.Second, doctor.Warning, "10s ahead of that of the control plane"},
		{"10 s behind", -11 * time.Second, -10 * time.Second, doctor.Warning, "10s behind that"},
		{"an hour ahead", time.Hour, time.Hour, doctor.Failed, "59m59s ahead of that of the control plane: it is 2026-11-23 13:00:00 UTC here, and 2026-11-23 12:00:00 UTC there"},
		{"an hour behind", -time.Hour, -time.Hour, doctor.Failed, "1h0m0s behind"},
	} {
		header := http.Header{"Date": {there.Format(http.TimeFormat)}}
		got := doctor.Clock("clock", header, there.Add(c.sent), there.Add(c.received))
		if got.Result != c.want || !strings.Contains(got.Seen, c.say) {
			t.Errorf("%s: %s, %s; want %s, %s", c.name, got.Result, got.Seen, c.want, c.say)
		}
	}
	if got := doctor.Clock("clock", http.Header{}, there, there); got.Result != doctor.NotChecked {
		t.Errorf("no date: %+v", got)
	}
}

// An end is told with how far away it is.
func TestUntil(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		49 * time.Hour:    "2026-11-25 13:00:00 UTC, in 2 d",
		47 * time.Hour:    "2026-11-25 11:00:00 UTC, in 47 h",
		90 * time.Minute:  "2026-11-23 13:30:00 UTC, in 90 m",
		time.Second:       "2026-11-23 12:00:01 UTC, in 1 s",
		-30 * time.Minute: "2026-11-23 11:30:00 UTC, 30 m ago",
	} {
		if got := doctor.Until(now.Add(d), now); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
