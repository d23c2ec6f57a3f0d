package cp

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"koguma/certs"
	"koguma/policy"
)

// holder is a proxy that has a certificate of the mesh, or verifies those of others, as far as is known; or those of a control
// plane that does not say which it has.
type holder struct {
	name      string
	living    []policy.IssuedCertificate // that it has, by the ledger
	withdrawn map[string]bool            // the serial numbers of the mesh
	use       secretUse
	connected bool
	fault     string // why it has no certificate, as far as that is on this side
	unknown   string // why it is not known which proxies there are, and how they stand; "" for one proxy
}

// lives reports whether the proxy has a certificate that is good.
func (h holder) lives() bool { return len(h.living) > 0 }

// distrusts is how the proxy stands in the way of an authority that is to sign: everybody has to verify its certificates
// before there is one.
func (h *holder) distrusts(t *policy.Trust, a *policy.TrustedAuthority, now time.Time) *policy.Blocker {
	return h.must(t, now, "it has not taken the roots of "+a.Backend+" yet", func(s *secretState) bool {
		return s.Roots == nil || slices.Contains(s.Roots, a.Fingerprint)
	})
}

// lags is how the proxy stands in the way of the end of a rotation: it may still trust what is dropped.
func (h *holder) lags(t *policy.Trust, now time.Time) *policy.Blocker {
	return h.must(t, now, "it may still trust what was dropped", func(s *secretState) bool {
		return s.Roots == nil || slices.Equal(s.Roots, t.Fingerprints())
	})
}

// must is nil if the proxy is known to be in a state as it should be, or needs none.
func (h *holder) must(t *policy.Trust, now time.Time, why string, is func(*secretState) bool) *policy.Blocker {
	if h.unknown != "" {
		return &policy.Blocker{Why: h.unknown}
	}
	if !(h.connected && h.use.Asked) && !h.lives() || h.use.all(is) {
		return nil
	}
	switch {
	case !h.connected:
		return h.absent(t, h.living)
	case h.use.Refusal != "":
		why = "it refused its secrets: " + h.use.Refusal
	case !h.use.Asked:
		why += ", and has not asked for secrets since it connected"
	}
	return &policy.Blocker{Proxy: h.name, Why: why}
}

// uses is how the proxy stands in the way of the dropping of an authority: it has a certificate of it in use, or may have.
// The latest that it has ACKed is what it uses; who was never heard of may use any that was not withdrawn.
func (h *holder) uses(t *policy.Trust, a *policy.TrustedAuthority, now time.Time) *policy.Blocker {
	if h.unknown != "" {
		return &policy.Blocker{Why: h.unknown}
	}
	of := func(authority, serial string, notAfter time.Time) bool {
		return authority == a.Fingerprint && now.Before(notAfter) && !h.withdrawn[serial]
	}
	mine := slices.DeleteFunc(slices.Clone(h.living), func(c policy.IssuedCertificate) bool { return !of(c.Authority, c.Serial, c.NotAfter) })
	var busy bool
	if h.use.Known {
		busy = slices.ContainsFunc(h.use.States, func(s secretState) bool {
			return slices.ContainsFunc(s.Leaves, func(l leafInUse) bool { return of(l.Authority, l.Serial, l.NotAfter) })
		})
	} else {
		busy = len(mine) > 0
	}
	if making := h.connected && h.use.Signing == a.Fingerprint; !busy && !making {
		return nil
	}
	switch {
	case !h.connected:
		return h.absent(t, mine)
	case h.fault != "":
		return &policy.Blocker{Proxy: h.name, Why: fmt.Sprintf("it has a certificate of %s, and cannot get another: %s", a.Backend, h.fault)}
	case h.use.Refusal != "":
		return &policy.Blocker{Proxy: h.name, Why: "it refused its secrets: " + h.use.Refusal}
	}
	return &policy.Blocker{Proxy: h.name, Why: "it may still use a certificate of " + a.Backend}
}

// absent says that the proxy is not connected, and until when it has certificates.
func (h *holder) absent(t *policy.Trust, have []policy.IssuedCertificate) *policy.Blocker {
	b := &policy.Blocker{Proxy: h.name, Why: "not connected since " + policy.Moment(h.use.Since)}
	var last policy.IssuedCertificate
	for _, c := range have {
		if c.NotAfter.After(last.NotAfter) {
			last = c
		}
	}
	if last.Serial != "" {
		of := ""
		if a := t.Authority(last.Authority); a != nil {
			of = " of " + a.Backend
		}
		b.Why += fmt.Sprintf("; its certificate%s ends %s", of, policy.Moment(last.NotAfter))
		b.Until = last.NotAfter
	}
	return b
}

// blockers are those of all who stand in the way, by name.
func blockers(all []holder, in func(*holder) *policy.Blocker) []policy.Blocker {
	var list []policy.Blocker
	for i := range all {
		if b := in(&all[i]); b != nil {
			list = append(list, *b)
		}
	}
	return list
}

func encodeRoots(roots []*x509.Certificate) string { return string(certs.EncodeChain(roots)) }
