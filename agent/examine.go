package agent

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"koguma/doctor"
	"koguma/mistake"
	"koguma/policy"
	"koguma/token"
)

// Exam looks for what keeps an agent with a configuration from working, as far as that can be seen from here, and changes
// nothing: an agent that runs under the same name keeps its session, and no port is taken even for a moment.
type Exam struct {
	Config Config
	// DataplaneErr and CAErr are why those of the configuration are missing although they were given.
	DataplaneErr, CAErr error
}

// examTime is how long all of it may take.
const examTime = 9 * time.Second

// Run makes all checks. It returns within ten seconds, whoever does not answer.
func (e Exam) Run(ctx context.Context) []doctor.Check {
	ctx, cancel := context.WithTimeout(ctx, examTime)
	defer cancel()
	x := &exam{Config: e.Config, now: time.Now()}
	x.Log = slog.New(slog.DiscardHandler)
	checks := x.settings(e)
	checks = append(checks, x.checkToken()...)

	// What takes its time is done at once, and told in this order.
	parts := []func(context.Context) []doctor.Check{x.checkListeners, x.checkHost, x.checkEnvoy, x.checkPlanes}
	found := make([][]doctor.Check, len(parts))
	var all sync.WaitGroup
	for i, part := range parts {
		all.Go(func() { found[i] = part(ctx) })
	}
	all.Wait()
	for _, part := range found {
		checks = append(checks, part...)
	}
	return checks
}

// exam is what is known while the checks are made. After checkToken nothing of it changes.
type exam struct {
	Config
	now    time.Time
	source *token.Source // nil if there is a text that is no good token
	held   token.Held    // the zero value if there is no good one
	blind  string        // why nobody can be asked whether the proxy would be let in; "" if one can
}

// settings completes the configuration and judges what it says of the proxy and its Dataplane.
func (x *exam) settings(e Exam) []doctor.Check {
	const name = "dataplane"
	var checks []doctor.Check
	if e.CAErr != nil {
		x.blind = "the CA of the control plane cannot be read"
		checks = append(checks, doctor.Mistaken("CA of the control plane", mistake.ControlPlaneUntrusted, e.CAErr))
	}
	err := e.DataplaneErr
	if err == nil {
		err = x.complete()
	}
	switch {
	case err != nil:
		x.blind = "what the proxy is cannot be read"
		x.guess()
		return append(checks, doctor.Mistaken(name, mistake.DataplaneInvalid, err))
	case x.Dataplane == nil:
		return append(checks, doctor.Good(name, "%s of mesh %s, which has to be applied: none is given here", x.Name, x.Mesh))
	}
	services := strings.Join(x.Dataplane.Services(), ", ")
	return append(checks, doctor.Good(name, "%s of mesh %s, with service %s", x.Name, x.Mesh, services))
}

// guess makes the best of a configuration that is wrong, so that the rest can be looked at.
func (x *exam) guess() {
	var said policy.Meta
	if x.Dataplane != nil {
		said = x.Dataplane.Meta
	}
	claims := x.named()
	x.Name, x.Mesh = cmp.Or(x.Name, said.Name, claims.Name), cmp.Or(x.Mesh, said.Mesh, claims.Mesh)
	x.Dataplane = nil
	_ = x.complete() // for its defaults; what else is wrong is said once this is right
}
