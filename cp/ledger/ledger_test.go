package ledger_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"koguma/cp/ledger"
	"koguma/policy"
	"koguma/store"
)

// slowStore takes its time to write, and counts.
type slowStore struct {
	store.Store
	mu     sync.Mutex
	writes int
	fail   error
}

func (s *slowStore) Write(ctx context.Context, ops ...store.Op) error {
	time.Sleep(5 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.writes++
	return s.Store.Write(ctx, ops...)
}

func leafOf(serial int64, life time.Duration) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(life)}
}

// record has it written down who has a certificate for web.
func record(ctx context.Context, l *ledger.Ledger, mesh, token string, leaf *x509.Certificate) error {
	c := ledger.CertificateOf(leaf, "web", "")
	c.TokenID, c.Proxy = token, "web-1"
	return l.Record(ctx, mesh, c)
}

func revoked(tokens ...string) func(string, string) bool {
	return func(_, id string) bool { return slices.Contains(tokens, id) }
}

func inLedger(t *testing.T, test func(t *testing.T, l *ledger.Ledger, s *slowStore)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &slowStore{Store: store.NewMemory()}
		defer s.Close()
		l := ledger.New(s)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { l.Follow(ctx); close(done) }()
		defer func() { cancel(); <-done }()
		test(t, l, s)
	})
}

// What comes while something is written is written together, and each returns only when it is in the store.
func TestLedgerWritesInGroups(t *testing.T) {
	t.Parallel()
	inLedger(t, func(t *testing.T, l *ledger.Ledger, s *slowStore) {
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				mesh := []string{"default", "other"}[i%2]
				if err := record(t.Context(), l, mesh, fmt.Sprint("t", i), leafOf(int64(i), time.Hour)); err != nil {
					t.Error(err)
				}
				pages, err := s.List(t.Context(), policy.TypeIssuance, mesh)
				if err != nil || !slices.ContainsFunc(pages, func(p policy.Resource) bool {
					return slices.ContainsFunc(p.(*policy.Issuance).Certificates, func(c policy.IssuedCertificate) bool {
						return c.Serial == big.NewInt(int64(i)).Text(16) && c.TokenID == fmt.Sprint("t", i) && c.Service == "web"
					})
				}) {
					t.Errorf("certificate %d is not written down (%v)", i, err)
				}
			})
		}
		all.Wait()
		if s.writes > 3 {
			t.Errorf("%d writes", s.writes)
		}
		synctest.Wait()
		if got := l.Due("default", revoked("t0", "t1", "t2")); len(got) != 2 {
			t.Errorf("to be withdrawn: %v", got)
		}
	})
}

// Whoever cannot be written down hears of it.
func TestLedgerCannotWrite(t *testing.T) {
	t.Parallel()
	inLedger(t, func(t *testing.T, l *ledger.Ledger, s *slowStore) {
		s.fail = errors.New("disk full")
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				err := record(t.Context(), l, "default", "t", leafOf(int64(i), time.Hour))
				if err == nil || !strings.Contains(err.Error(), "disk full") {
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
	})
}

// A certificate goes with the token that it was shown by last, and with no other. One that has ended needs nothing.
func TestLedgerDue(t *testing.T) {
	t.Parallel()
	inLedger(t, func(t *testing.T, l *ledger.Ledger, s *slowStore) {
		for _, r := range []struct {
			token  string
			serial int64
			life   time.Duration
		}{{"old", 1, time.Hour}, {"old", 2, time.Hour}, {"new", 2, time.Hour}, {"old", 3, time.Minute}} {
			if err := record(t.Context(), l, "default", r.token, leafOf(r.serial, r.life)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		written := s.writes
		if err := record(t.Context(), l, "default", "new", leafOf(2, time.Hour)); err != nil || s.writes != written {
			t.Errorf("the same was written again (%v)", err)
		}
		time.Sleep(2 * time.Minute)
		for _, c := range []struct{ revoked, want string }{
			{"old", "1"}, {"new", "2"}, {"old new", "1 2"}, {"", ""},
		} {
			var got []string
			for _, d := range l.Due("default", revoked(strings.Fields(c.revoked)...)) {
				if !slices.Contains(got, d.Serial) {
					got = append(got, d.Serial)
				}
			}
			slices.Sort(got)
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("revoked %q: %q is to be withdrawn, want %q", c.revoked, s, c.want)
			}
		}
	})
}
