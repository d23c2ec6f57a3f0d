package doctor

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"koguma/mistake"
)

// How far clocks may be apart. Tokens and certificates are good a minute earlier than they say, at most.
const (
	oddSkew = 5 * time.Second
	badSkew = time.Minute
)

// Clock compares the clock here with the Date of an answer to what was sent and received at these times of this clock. The
// Date has whole seconds, and was written somewhere in between.
func Clock(name string, answer http.Header, sent, received time.Time) Check {
	there, err := http.ParseTime(answer.Get("Date"))
	if err != nil {
		return Skip(name, "the answer has no date")
	}
	// The clock there was in [there, there+1s) at a moment between sent and received.
	ahead, behind := sent.Sub(there.Add(time.Second)), there.Sub(received)
	switch apart := max(ahead, behind, 0); {
	case apart < oddSkew:
		return Good(name, "as that of the control plane, to within %v", max(apart, time.Second).Round(time.Second))
	case apart < badSkew:
		return Doubt(name, "%v %s that of the control plane", apart.Round(time.Second), side(ahead)).
			Fix("set the clocks: tokens and certificates are refused once they are a minute apart")
	default:
		return Mistaken(name, mistake.ClocksDiffer, fmt.Errorf("%v %s that of the control plane: it is %s here, and %s there",
			apart.Round(time.Second), side(ahead), Moment(received), Moment(there)), "timedatectl set-ntp true, here or there")
	}
}

func side(ahead time.Duration) string {
	if ahead > 0 {
		return "ahead of"
	}
	return "behind"
}

// Moment is a time as reports have it, in UTC.
func Moment(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }

// Until is a time and how long it is until then.
func Until(t, now time.Time) string {
	d := t.Sub(now)
	if d <= 0 {
		return Moment(t) + ", " + rough(-d) + " ago"
	}
	return Moment(t) + ", in " + rough(d)
}

// rough is a duration in its largest unit of which there are two.
func rough(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return count(d, day, "d")
	case d >= 2*time.Hour:
		return count(d, time.Hour, "h")
	case d >= 2*time.Minute:
		return count(d, time.Minute, "m")
	}
	return count(d, time.Second, "s")
}

func count(d, unit time.Duration, name string) string { return strconv.Itoa(int(d/unit)) + " " + name }
