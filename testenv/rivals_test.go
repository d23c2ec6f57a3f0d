package testenv_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// Of two proxies with one name the newer has it. The older says why it has not, and takes it back after ten seconds at
// the earliest.
func TestRivals(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{})
	same := testenv.Proxy{Serves: []string{"backend"}}
	older := m.Start(same)[0]
	begin := time.Now()
	newer := m.Start(same)[0]
	const word = "a newer stream has taken over"
	takeovers := func() int { return strings.Count(older.Output(), word) + strings.Count(newer.Output(), word) }
	eventually(t, 5*time.Second, "the older to say why it is not connected", func() error {
		if !strings.Contains(older.Output(), word) {
			return fmt.Errorf("it says nothing of that")
		}
		return nil
	})
	if list := m.Kumactl("get", "dataplane", "backend-1", "-o=yaml"); !strings.Contains(list, newer.Address) {
		t.Errorf("the Dataplane is not that of the newer proxy:\n%s", list)
	}
	<-time.After(time.Until(begin.Add(9 * time.Second)))
	if n := takeovers(); n != 1 {
		t.Errorf("the name changed hands %d times in 9s, want once", n)
	}
	eventually(t, 15*time.Second, "the name to be taken back", func() error {
		if takeovers() < 2 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
}
