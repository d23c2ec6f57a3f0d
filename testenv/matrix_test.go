package testenv_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"koguma/policy"
	"koguma/testenv"
	"koguma/xds"
)

// city is twenty services behind real Envoys, some of them with instances of different tags, and programs that have
// the certificate of each instance.
type city struct {
	*testenv.Mesh
	proxies []*testenv.Sidecar
	callers []caller // one for each inbound
}

func newCity(t *testing.T) city {
	t.Helper()
	c := city{Mesh: testenv.New(t, testenv.Options{MTLS: true})}
	for i, tags := range []map[string]string{
		{"version": "1", "env": "a"}, {"version": "2", "env": "A"}, {"version": "1"}, {"version": "2", "env": "a"}, {"version": "2", "env": "A"},
	} {
		var serves []string
		for j := range 5 {
			serves = append(serves, fmt.Sprintf("s%d", (5*i+j)%20)) // the first five twice
		}
		c.proxies = append(c.proxies, c.Launch(testenv.Proxy{Name: fmt.Sprintf("proxy-%d", i), Serves: serves, Tags: tags}))
	}
	for _, p := range c.proxies {
		p.AwaitReady()
		for i := range p.Dataplane.Networking.Inbound {
			tags := p.Dataplane.Networking.Inbound[i].Tags
			c.callers = append(c.callers, caller{tags[policy.TagService], c.IdentityOf("default", tags)})
		}
	}
	return c
}

// verdicts tries each caller at each inbound, and says of each pair of services what came of it.
func (c city) verdicts(ctx context.Context) (map[string]policy.Verdict, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	found := map[string]policy.Verdict{}
	for _, who := range c.callers {
		wg.Go(func() {
			for _, p := range c.proxies {
				for i := range p.Dataplane.Networking.Inbound {
					to := p.Dataplane.Networking.Inbound[i].Service()
					answer := dialer{cert: who.cert, serverName: xds.ServerName(who.service, to, "default")}.httpAnswer(ctx, p.In(to))
					mu.Lock()
					verdict, pair := map[string]policy.Verdict{allowed: policy.Allowed, denied: policy.Denied}[answer], who.service+" -> "+to
					switch {
					case verdict == "":
						failed = fmt.Errorf("%s: %s", pair, answer)
					case found[pair] != "" && found[pair] != verdict:
						found[pair] = policy.Partly
					default:
						found[pair] = verdict
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return found, failed
}

// ordinance is random permissions by tags.
func ordinance(r *rand.Rand) string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	selector := func() string {
		var pairs []string
		for _, p := range []string{
			pick("", `kuma.io/service: "*"`, fmt.Sprintf("kuma.io/service: s%d", r.IntN(20)), fmt.Sprintf("kuma.io/service: s%d", r.IntN(5))),
			pick("", "", `version: "1"`, `version: "2"`), pick("", "", "env: a", "env: A", `env: "*"`),
		} {
			if p != "" {
				pairs = append(pairs, p)
			}
		}
		if len(pairs) == 0 {
			return `{version: "2"}`
		}
		return "{" + strings.Join(pairs, ", ") + "}"
	}
	var all []string
	for i := range 10 {
		all = append(all, permission(fmt.Sprintf("p%d", i), selector(), selector(), selector()))
	}
	return strings.Join(all, "---\n")
}

var changeLine = regexp.MustCompile(`(?m)^# mesh default: (\S+ -> \S+): from (\w+) to (\w+): `)

// Among twenty services, the pairs that a dry run says change are those that do, and no others.
func TestDryRunIsWhatHappens(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	r := rand.New(rand.NewPCG(20, 26))
	c.Apply(ordinance(r))
	var before map[string]policy.Verdict
	eventually(t, 20*time.Second, "some to be let in, and some not", func() (err error) {
		again, err := c.verdicts(t.Context())
		if err == nil && fmt.Sprint(again) != fmt.Sprint(before) {
			before, err = again, fmt.Errorf("it is not settled")
		}
		return err
	})
	for _, next := range []string{ordinance(r), edicts(r)} {
		before = c.happens(t, before, next)
	}
}

// happens applies what is next, and is what comes of it: what a dry run has said, and nothing else.
func (c city) happens(t *testing.T, before map[string]policy.Verdict, next string) (after map[string]policy.Verdict) {
	t.Helper()
	file, want := c.File(next), map[string]string{}
	for _, m := range changeLine.FindAllStringSubmatch(c.Kumactl("apply", "--dry-run", "-f", file), -1) {
		want[m[1]] = m[2] + " to " + m[3]
	}
	if len(want) < 50 || len(before) != 400 {
		t.Fatalf("%d of %d pairs are to change: the test shows little", len(want), len(before))
	}
	c.Kumactl("apply", "-f", file)
	eventually(t, 20*time.Second, "the Envoys to do what was said", func() (err error) {
		if after, err = c.verdicts(t.Context()); err != nil {
			return err
		}
		var wrong []string
		for pair, was := range before {
			said, really := want[pair], ""
			if is := after[pair]; is != was {
				really = fmt.Sprintf("%s to %s", was, is)
			}
			if said != really {
				wrong = append(wrong, fmt.Sprintf("%s: said %q, is %q", pair, said, really))
			}
		}
		if len(wrong) > 0 {
			slices.Sort(wrong)
			return fmt.Errorf("%d pairs are wrong: %q", len(wrong), wrong[:min(len(wrong), 5)])
		}
		return nil
	})
	t.Logf("%d of 400 pairs have changed", len(want))
	return after
}
