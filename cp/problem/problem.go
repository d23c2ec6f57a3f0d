// Package problem is how the API says that it does not do what was asked, to people and to programs.
package problem

import (
	"fmt"
	"net/http"

	"koguma/mistake"
	"koguma/policy"
)

// Problem is the answer to a request that failed. Details and Causes say the same as Detail and InvalidParameters, for
// clients that are older than those.
type Problem struct {
	Type              string             `json:"type"`
	Status            int                `json:"status"`
	Title             string             `json:"title"`
	Detail            string             `json:"detail"`
	InvalidParameters []invalidParameter `json:"invalid_parameters,omitempty"`
	Code              mistake.Code       `json:"code,omitempty"` // of a mistake that people can look up
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

// Refuse is a problem with a title of its own, whatever was being done.
func Refuse(status int, title, detail string) *Problem {
	return &Problem{Type: "/std-errors", Status: status, Title: title, Detail: detail, Details: detail}
}

// Error implements error.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// Parameter is a fault in one field or query parameter.
func Parameter(field, reason string) error {
	return &policy.Invalid{Fields: []policy.FieldError{{Field: field, Reason: reason}}}
}

// Invalid names each field that is not valid.
func Invalid(title string, invalid *policy.Invalid) *Problem {
	p := Refuse(http.StatusBadRequest, title, "Resource is not valid")
	for _, f := range invalid.Fields {
		p.InvalidParameters = append(p.InvalidParameters, invalidParameter{f.Field, f.Reason})
		p.Causes = append(p.Causes, cause{f.Field, f.Reason})
	}
	return p
}

// Conflict refuses a write that is right in itself, but not with what else there is.
func Conflict(key policy.Key, reason string) error {
	return Refuse(http.StatusConflict, "Conflict", fmt.Sprintf("%s: %s", key, reason))
}
