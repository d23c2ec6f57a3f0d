package agent

import (
	"time"

	"koguma/policy"
	"koguma/xds"
)

// Plaintext is plaintext on its own.
type Plaintext struct{ p *plaintext }

// NewPlaintext is newPlaintext.
func NewPlaintext() Plaintext { return Plaintext{newPlaintext()} }

// Watch is watch.
func (p Plaintext) Watch(notes map[string]xds.Note, now time.Time) { p.p.watch(notes, now) }

// Count is count.
func (p Plaintext) Count(stats map[string]uint64, now time.Time) { p.p.count(stats, now) }

// Report is report.
func (p Plaintext) Report(now time.Time) *policy.PlaintextReport { return p.p.report(now) }

// News reports, once, whether the control plane is to be told something.
func (p Plaintext) News() bool {
	select {
	case <-p.p.news:
		return true
	default:
		return false
	}
}
