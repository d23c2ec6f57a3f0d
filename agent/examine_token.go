package agent

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"koguma/doctor"
	"koguma/mistake"
	"koguma/token"
)

// named is what the token says of the proxy, nothing if it cannot be read.
func (x *exam) named() token.Claims {
	raw := x.Token
	if x.TokenFile != "" {
		data, _, _ := token.ReadFile(x.TokenFile, token.MaxToken)
		raw = token.Raw(strings.TrimSpace(string(data)))
	}
	c, _ := token.Inspect(raw)
	return c
}

// checkToken takes the token as the agent would, and judges its bounds. What only the control plane knows comes with
// checkPlanes.
func (x *exam) checkToken() []doctor.Check {
	const name = "token"
	source, err := token.NewSource(token.SourceConfig{
		File: x.TokenFile, Text: x.Token, Mesh: x.Mesh, Name: x.Name, Services: services(x.Config), Log: x.Log,
	})
	if err == nil {
		x.source = source
		err = source.Load()
	}
	if err != nil {
		x.blind = cmp.Or(x.blind, "the token cannot be used")
		return []doctor.Check{doctor.Mistaken(name, mistake.TokenMalformed, err)}
	}
	if x.held, _ = source.Current(); x.held.Raw == "" {
		return []doctor.Check{doctor.Doubt(name, "none; only a control plane whose authentication is switched off lets this proxy in").
			Fix(source.Commands()...)}
	}
	checks := []doctor.Check{x.judgeToken(name)}
	if x.TokenFile != "" {
		checks = append(checks, x.checkTokenFile())
	}
	if x.Dataplane != nil {
		checks = append(checks, x.checkBounds())
	}
	return checks
}

// judgeToken is about a token that the agent would take.
func (x *exam) judgeToken(name string) doctor.Check {
	c := &x.held.Claims
	if begin := c.NotBefore; begin.After(x.now.Add(time.Minute)) {
		return doctor.Mistaken(name, mistake.ClocksDiffer,
			fmt.Errorf("it begins at %s, and it is %s here", doctor.Moment(begin), doctor.Moment(x.now)))
	}
	end := doctor.Until(c.ExpiresAt, x.now)
	if !x.now.Before(old(x.held)) {
		return doctor.Doubt(name, "two thirds of its life are over: it ends %s (jti %s)", end, c.ID).Fix(x.source.Commands()...)
	}
	return doctor.Good(name, "for %s; ends %s; jti %s, key %s", boundsOf(c), end, c.ID, token.KeyID(x.held.Raw))
}

// boundsOf is what a token is for.
func boundsOf(c *token.Claims) string {
	who := "any proxy"
	if c.Name != "" {
		who = c.Name
	}
	who += " of mesh " + c.Mesh
	for _, tag := range slices.Sorted(maps.Keys(c.Tags)) {
		who += ", " + tag + "=" + strings.Join(c.Tags[tag], ",")
	}
	return who
}

func (x *exam) checkTokenFile() doctor.Check {
	const name = "token file"
	_, info, err := token.ReadFile(x.TokenFile, token.MaxToken)
	if err != nil { // it has just gone
		return doctor.Mistaken(name, mistake.TokenMissing, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return doctor.Doubt(name, "others on this machine can read %s, by its mode %04o", x.TokenFile, mode).
			Fix(mistake.Command("chmod", "600", x.TokenFile))
	}
	return doctor.Good(name, "%s, for its owner only", x.TokenFile)
}

// checkBounds judges the Dataplane by the token, as the control plane does.
func (x *exam) checkBounds() doctor.Check {
	const name = "bounds of the token"
	err := x.held.Claims.Admit(x.Dataplane)
	refusal, ok := errors.AsType[*token.Refusal](err)
	switch {
	case err == nil:
		return doctor.Good(name, "they let the Dataplane in")
	case !ok || refusal.Reason.Code() == "":
		return doctor.Bad(name, "%v", err)
	}
	return doctor.Mistaken(name, refusal.Reason.Code(), errors.New(refusal.Detail), x.source.Commands()...)
}
