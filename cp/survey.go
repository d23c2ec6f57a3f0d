package cp

import (
	"time"

	"koguma/policy"
)

// survey has the rotations know how these meshes stand. All sessions have been offered what follows from that: nobody
// begins with less from now on.
func (r *reconciler) survey(meshes map[string]bool) {
	for name := range meshes {
		m := r.index.at(name)
		if m.mesh == nil {
			r.rotations.see(name, nil)
		} else {
			r.rotations.see(name, m.outlook(time.Now()))
		}
	}
}

// retired notes that a proxy uses no certificate any more.
func (r *reconciler) retired(key policy.Key) {
	r.mu.Lock()
	delete(r.vanished, key)
	r.mu.Unlock()
	r.roll.forget(key)
	r.roll.touch(key)
	r.rotations.look(key.Mesh)
}

// ledgerLag is longer than it takes until what another control plane has written into the ledger is heard of.
const ledgerLag = 10 * time.Second

// heard is what is known of the proxies of a mesh, by name, from their streams here and at other control planes: the newest of
// each. Those that have gone, and have nothing that lives, are forgotten: whoever left in good order, wherever that was, has
// none by the ledger.
func (r *reconciler) heard(mesh string, living map[string][]policy.IssuedCertificate) map[string]heard {
	last := r.roll.of(mesh)
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, s := range r.vanished {
		if o, ok := last[key.Name]; key.Mesh == mesh && (!ok || s.newer(&o)) {
			last[key.Name] = s
		}
	}
	for key, s := range r.sessions {
		if o, ok := last[key.Name]; key.Mesh == mesh && (!ok || o.Gone != nil || !o.Since.After(s.since)) {
			last[key.Name] = s.sighting()
		}
	}
	now := time.Now()
	all := map[string]heard{}
	for name, s := range last {
		if s.Gone != nil && len(living[name]) == 0 && (s.Uses.over(now) || now.Sub(s.Gone.At) > ledgerLag) {
			delete(r.vanished, s.key())
			r.roll.forget(s.key())
			continue
		}
		all[name] = heard{s.Uses, s.Gone == nil, s.Fault}
	}
	return all
}
