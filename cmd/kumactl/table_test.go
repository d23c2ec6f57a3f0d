package main

import (
	"strings"
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		ago  time.Duration
		want string
	}{
		{-time.Hour, "0s"}, // their clock is ahead of ours
		{0, "0s"},
		{59*time.Second + 999*time.Millisecond, "59s"},
		{time.Minute, "1m"},
		{time.Hour - 1, "59m"},
		{time.Hour, "1h"},
		{24*time.Hour - 1, "23h"},
		{24 * time.Hour, "1d"},
		{364 * 24 * time.Hour, "364d"},
		{365 * 24 * time.Hour, "1y"},
	}
	for _, test := range tests {
		if got := age(now.Add(-test.ago), now); got != test.want {
			t.Errorf("age of %v: %s, want %s", test.ago, got, test.want)
		}
	}
	if got := age(time.Time{}, now); got != "never" {
		t.Errorf("age of nothing: %s, want never", got)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := table{
		header: []string{"MESH", "NAME", "AGE"},
		rows:   [][]string{{"default", "dataplane-token-signing-key-default-1", "49s"}, {"ü", "a\tb\nc\x1b[2J", "1d"}},
	}
	var got strings.Builder
	if err := table.write(&got); err != nil {
		t.Fatal(err)
	}
	want := "MESH      NAME                                    AGE\n" +
		"default   dataplane-token-signing-key-default-1   49s\n" +
		"ü         a\\tb\\nc\\x1b[2J                          1d\n"
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// Every character that a terminal might obey is shown, not sent: controls of both ranges, and what turns the direction
// of writing.
func TestPrintable(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"web-1 é 猫":      "web-1 é 猫",
		"\x1b]0;title\a": `\x1b]0;title\a`,
		"\x7f\u009b2J":   `\x7f\u009b2J`,
		"a\u202eb\u200b": `a\u202eb\u200b`,
		"a\xffb":         "a\ufffdb",
		"two\nlines\r":   `two\nlines\r`,
	}
	for in, want := range tests {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
	if got := printableText("two\nlines\r"); got != "two\nlines\\r" {
		t.Errorf("printableText = %q", got)
	}
}
