package cp

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"koguma/policy"
	"koguma/store"
)

// problem is the answer to a request that failed. Details and Causes say the same as Detail and InvalidParameters, for
// clients that are older than those.
type problem struct {
	Type              string             `json:"type"`
	Status            int                `json:"status"`
	Title             string             `json:"title"`
	Detail            string             `json:"detail"`
	InvalidParameters []invalidParameter `json:"invalid_parameters,omitempty"`
	Details           string             `json:"details"`
	Causes            []cause            `json:"causes,omitempty"`
}

type invalidParameter struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

type cause struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// statusClientGone is for the log only: nobody is there to read it.
const statusClientGone = 499

// refuse is a problem with a title of its own, whatever was being done.
func refuse(status int, title, detail string) *problem {
	return &problem{Type: "/std-errors", Status: status, Title: title, Detail: detail, Details: detail}
}

// Error implements error.
func (p *problem) Error() string { return p.Title + ": " + p.Detail }

// parameter is a fault in one field or query parameter.
func parameter(field, reason string) error {
	return &policy.Invalid{Fields: []policy.FieldError{{Field: field, Reason: reason}}}
}

// problemOf is the one place where errors become statuses. The title says what was being done. What an error that we do
// not know says is for the log, not for the client.
func problemOf(title string, err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if invalid, ok := errors.AsType[*policy.Invalid](err); ok {
		return invalidProblem(title, invalid)
	}
	if syntax, ok := errors.AsType[*policy.SyntaxError](err); ok {
		return refuse(http.StatusBadRequest, title, syntax.Error())
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refuse(http.StatusRequestEntityTooLarge, title, fmt.Sprintf("the body is larger than %d MiB", tooLarge.Limit>>20))
	}
	switch {
	case errors.Is(err, ErrNoSigningKey):
		return refuse(http.StatusNotFound, "Signing Key not found", err.Error())
	case errors.Is(err, store.ErrNotFound):
		return refuse(http.StatusNotFound, title, err.Error())
	case errors.Is(err, store.ErrConflict):
		return refuse(http.StatusConflict, title, err.Error())
	case errors.Is(err, store.ErrUnavailable):
		return refuse(http.StatusServiceUnavailable, title, "the store does not answer; try again later")
	case errors.Is(err, context.Canceled):
		return refuse(statusClientGone, title, "the client is gone")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, store.ErrClosed):
		return refuse(http.StatusServiceUnavailable, title, "the store does not answer; try again later")
	}
	return refuse(http.StatusInternalServerError, "Internal Server Error", "see the log of the control plane")
}

func invalidProblem(title string, invalid *policy.Invalid) *problem {
	p := refuse(http.StatusBadRequest, title, "Resource is not valid")
	for _, f := range invalid.Fields {
		p.InvalidParameters = append(p.InvalidParameters, invalidParameter{f.Field, f.Reason})
		p.Causes = append(p.Causes, cause{f.Field, f.Reason})
	}
	return p
}
