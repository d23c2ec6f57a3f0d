package main

import (
	"errors"
	"fmt"
	"strings"
)

// pairs is a repeatable flag of the form key=value, each key once.
type pairs map[string]string

func (p pairs) Type() string   { return "key=value" }
func (p pairs) String() string { return "" } // no default to show

// Set takes one pair. The value is all that follows the first "=".
func (p pairs) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return errors.New("must be of the form key=value")
	}
	if _, twice := p[key]; twice {
		return fmt.Errorf("%s is given twice", key)
	}
	p[key] = value
	return nil
}
