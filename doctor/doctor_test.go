package doctor_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/doctor"
	"koguma/mistake"
)

// A report has a line for each check, with what to do below it, and counts those that failed.
func TestReport(t *testing.T) {
	t.Parallel()
	var r doctor.Report
	r.Add(
		doctor.Good("token", "ends %s", "soon"),
		doctor.Doubt("a long name", "100%").Fix("one", "two"),
		doctor.Mistaken("port", mistake.ProxyPort, errors.New("taken")),
		doctor.Skip("clock", "nobody answers"),
	)
	var text, json strings.Builder
	if err := errors.Join(r.Write(&text), r.WriteJSON(&json)); err != nil {
		t.Fatal(err)
	}
	wantText := `ok    token        ends soon
warn  a long name  100%
      fix: one
           two
FAIL  port         taken
      fix: ss -ltnp 'sport = :PORT'
      KG0301: kumactl explain KG0301
-     clock        nobody answers
`
	if diff := cmp.Diff(wantText, text.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	wantJSON := `{
  "failed": 1,
  "checks": [
    {
      "name": "token",
      "result": "ok",
      "seen": "ends soon"
    },
    {
      "name": "a long name",
      "result": "warning",
      "seen": "100%",
      "next": [
        "one",
        "two"
      ]
    },
    {
      "name": "port",
      "result": "failed",
      "seen": "taken",
      "next": [
        "ss -ltnp 'sport = :PORT'"
      ],
      "code": "KG0301"
    },
    {
      "name": "clock",
      "result": "not checked",
      "seen": "nobody answers"
    }
  ]
}
`
	if diff := cmp.Diff(wantJSON, json.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := r.Err(); err == nil || err.Error() != "1 of 4 checks failed" {
		t.Errorf("error %v", err)
	}
}

// A report without a failure is no error, whatever else is in it.
func TestReportWithoutFailure(t *testing.T) {
	t.Parallel()
	var r doctor.Report
	r.Add(doctor.Doubt("a", "b"), doctor.Skip("c", "d"))
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}

// An error that knows its mistake is believed, also about what to do.
func TestMistaken(t *testing.T) {
	t.Parallel()
	err := mistake.New(mistake.TokenExpired, errors.New("over"), "make another")
	got := doctor.Mistaken("token", mistake.TokenMalformed, err, "look at it")
	want := doctor.Check{Name: "token", Result: doctor.Failed, Seen: "over", Next: []string{"make another"}, Code: mistake.TokenExpired}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What others say neither moves the cursor, nor makes lines, nor goes on for ever.
func TestLines(t *testing.T) {
	t.Parallel()
	got := doctor.Bad("a\x1b[2J", "%s", "x\ny\r\u009b"+strings.Repeat("z", 5000)).Fix("rm\n\x07")
	if got.Name != `a\x1b[2J` || !strings.HasPrefix(got.Seen, `x; y\r\u009bzzz`) || len(got.Seen) > 1100 || got.Next[0] != `rm; \a` {
		t.Errorf("%q %.40q, %d characters, %q", got.Name, got.Seen, len(got.Seen), got.Next)
	}
}
