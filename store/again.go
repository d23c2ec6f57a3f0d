package store

import (
	"errors"

	"koguma/policy"
)

// MaxAttempts bounds how often [Again] decides anew because somebody else's write came in between.
const MaxAttempts = 8

// Again decides and writes again while others come in between. What write reads is to be among what it expects.
func Again(write func() error) error {
	var err error
	for range MaxAttempts {
		if err = write(); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return err
}

// AsRead is the expectation that what was read is still there; nil for nothing.
func AsRead(r policy.Resource) int64 {
	if r == nil {
		return Absent
	}
	return int64(r.Metadata().Version)
}

// Unchanged does nothing, but fails the Write if r is no longer as it was.
func Unchanged(r policy.Resource) Op { return Op{Put: r, Expect: AsRead(r)} }
