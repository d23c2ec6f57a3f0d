package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"koguma/cp/problem"
	"koguma/mistake"
	"koguma/policy"
	"koguma/store"
)

// statusClientGone is for the log only: nobody is there to read it.
const statusClientGone = 499

// problemOf is the one place where errors become statuses. The title says what was being done. What an error that we do
// not know says is for the log, not for the client.
func problemOf(title string, err error) *problem.Problem {
	p := problemWithout(title, err)
	if m, ok := mistake.Of(err); ok {
		p.Code = m.Code
	}
	return p
}

// problemWithout is problemOf without the code of a mistake.
func problemWithout(title string, err error) *problem.Problem {
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		return p
	}
	if invalid, ok := errors.AsType[*policy.Invalid](err); ok {
		return problem.Invalid(title, invalid)
	}
	if syntax, ok := errors.AsType[*policy.SyntaxError](err); ok {
		return problem.Refuse(http.StatusBadRequest, title, syntax.Error())
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem.Refuse(http.StatusRequestEntityTooLarge, title, fmt.Sprintf("the body is larger than %d MiB", tooLarge.Limit>>20))
	}
	switch {
	case errors.Is(err, ErrNoSigningKey):
		return problem.Refuse(http.StatusNotFound, "Signing Key not found", err.Error())
	case errors.Is(err, store.ErrNotFound):
		return problem.Refuse(http.StatusNotFound, title, err.Error())
	case errors.Is(err, store.ErrConflict):
		return problem.Refuse(http.StatusConflict, title, err.Error())
	case errors.Is(err, store.ErrUnavailable):
		return problem.Refuse(http.StatusServiceUnavailable, title, "the store does not answer; try again later")
	case errors.Is(err, context.Canceled):
		return problem.Refuse(statusClientGone, title, "the client is gone")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, store.ErrClosed):
		return problem.Refuse(http.StatusServiceUnavailable, title, "the store does not answer; try again later")
	}
	return problem.Refuse(http.StatusInternalServerError, "Internal Server Error", "see the log of the control plane")
}
