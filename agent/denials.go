package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"koguma/xds"
)

// Why Envoy let somebody not in. The words are those of the log and of the metric.
const (
	noCertificate = "no-certificate"
	unknownCA     = "unknown-ca"
	expiredLeaf   = "expired"
	notYetValid   = "not-yet-valid"
	revokedLeaf   = "revoked"
	wrongMesh     = "wrong-mesh"
	inPlaintext   = "plaintext"
	notPermitted  = "not-permitted"
	handshake     = "handshake" // anything else; the detail has Envoy's words
	// shadowDenied is that somebody was let in whom a permission names to be denied some day.
	shadowDenied = "shadow-denied"
)

// denial is a connection, or an HTTP request, that Envoy denied, or let in with doubt. What the peer had a say in is cut to a
// length and has nothing in it that a terminal would obey.
type denial struct {
	service  string
	listener string // the name of the inbound's
	from, to string // addresses with ports
	reason   string
	rule     string // notPermitted, shadowDenied: the one that denied; "" if there was none that allowed
	peer     string // the SPIFFE ID in its certificate
	sni      string
	detail   string
}

// How many lines there are: so many a second, and so many at once.
const (
	lineRate  = 10
	lineBurst = 20
)

// denials counts what Envoy denied, and writes a line for each that says why. Above a rate only some get their line, and
// one line a second says of how many that was not so; each is counted.
type denials struct {
	log   *slog.Logger
	total *prometheus.CounterVec
	lines chan denial // yet to be written

	mu    sync.Mutex
	left  int                 // that had no line, and were not told of yet
	notes map[string]xds.Note // of the inbounds, by the name of their listener
}

func newDenials(log *slog.Logger, total *prometheus.CounterVec) *denials {
	return &denials{log: log, total: total, lines: make(chan denial, lineBurst)}
}

// learn takes over what the control plane says of all inbounds now. Envoy may be a moment behind it.
func (d *denials) learn(notes map[string]xds.Note) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = notes
}

// add never waits: whoever reads the log, or does not, Envoy gets rid of what it has to tell.
func (d *denials) add(one denial) {
	d.total.WithLabelValues(one.service, one.reason).Inc()
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case d.lines <- one:
	default:
		d.left++ // which the writer sees, because it has yet to take a line
	}
}

// run writes lines until ctx ends.
func (d *denials) run(ctx context.Context) {
	var (
		limit bucket
		tell  <-chan time.Time // nil while there is nothing to tell
	)
	defer d.tell()
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-d.lines:
			if limit.take(time.Now()) {
				d.write(one)
			} else {
				d.leave()
			}
			if tell == nil && d.someLeft() {
				tell = time.After(time.Second)
			}
		case <-tell:
			tell = nil
			d.tell()
		}
	}
}

func (d *denials) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left++
}

func (d *denials) someLeft() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.left > 0
}

// tell says how many had no line.
func (d *denials) tell() {
	d.mu.Lock()
	n := d.left
	d.left = 0
	d.mu.Unlock()
	if n > 0 {
		d.log.Warn("denied, without a line for each", "count", n)
	}
}

// write writes the line of a denial. A peer that failed in the handshake has proved nothing, not even that the key to its
// certificate is its own, so that who it is stands there as a claim.
func (d *denials) write(one denial) {
	peer, claim := "", one.peer
	judged, message := one.reason == notPermitted, "denied"
	if one.reason == shadowDenied {
		judged, message = true, "would be denied"
	}
	if judged {
		peer, claim = claim, peer
	}
	fields := []any{"peer", peer, "from", one.from, "service", one.service, "to", one.to, "reason", one.reason}
	if claim != "" {
		fields = append(fields, "claim", claim)
	}
	if judged {
		d.mu.Lock()
		note := d.notes[one.listener]
		d.mu.Unlock()
		rule := one.rule
		if rule == "" {
			rule = "no rule"
		}
		fields = append(fields, "rule", rule, "permission", note.Permission, "version", note.PermissionVersion)
	}
	if one.sni != "" {
		fields = append(fields, "sni", one.sni)
	}
	if one.detail != "" {
		fields = append(fields, "detail", one.detail)
	}
	d.log.Warn(message, fields...)
}

// bucket lets through lineRate a second, and lineBurst at once. The zero bucket is full.
type bucket struct {
	tokens float64
	at     time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.tokens = min(lineBurst, b.tokens+now.Sub(b.at).Seconds()*lineRate)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
