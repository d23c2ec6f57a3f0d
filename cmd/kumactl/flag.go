package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// choice is a flag that takes one of a few words.
type choice struct {
	value string
	of    []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "string" }
func (c *choice) words() string  { return strings.Join(c.of, ", ") }

// Set takes the word.
func (c *choice) Set(s string) error {
	if !slices.Contains(c.of, s) {
		return fmt.Errorf("must be one of %s", c.words())
	}
	c.value = s
	return nil
}

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

// tagValues is a repeatable flag of the form tag=value,value. What is given for the same tag adds up.
type tagValues map[string][]string

func (t tagValues) Type() string   { return "tag=value,..." }
func (t tagValues) String() string { return "" } // no default to show

// Set takes one tag with its values.
func (t tagValues) Set(s string) error {
	tag, list, ok := strings.Cut(s, "=")
	if !ok || tag == "" {
		return errors.New("must be of the form tag=value,value")
	}
	for value := range strings.SplitSeq(list, ",") {
		if value == "" {
			return fmt.Errorf("tag %s has an empty value", tag)
		}
		if !slices.Contains(t[tag], value) {
			t[tag] = append(t[tag], value)
		}
	}
	return nil
}

// validity is a flag that takes a time span greater than zero.
type validity time.Duration

func (v *validity) Type() string { return "duration" }

func (v *validity) String() string {
	if *v == 0 {
		return ""
	}
	return time.Duration(*v).String()
}

// Set takes a Go duration.
func (v *validity) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return errors.New(`must be a duration in hours, minutes and seconds, such as "720h"`)
	}
	if d <= 0 {
		return errors.New("must be more than 0")
	}
	*v = validity(d)
	return nil
}

// formatTags is how tags are shown: "k=v1,v2 k2=v", sorted.
func formatTags(tags map[string][]string) string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		words = append(words, k+"="+strings.Join(tags[k], ","))
	}
	return strings.Join(words, " ")
}
