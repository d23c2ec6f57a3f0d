package store

import "time"

// Outage is a [Store.Fault] that says how old what is served meanwhile may be. It is an ErrUnavailable.
type Outage struct {
	// AsOf is when what is in memory was known to be all that there was.
	AsOf time.Time
	Err  error
}

// Error implements error.
func (o *Outage) Error() string { return o.Err.Error() }

// Unwrap is the error itself.
func (o *Outage) Unwrap() error { return o.Err }
