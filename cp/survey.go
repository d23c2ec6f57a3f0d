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
	r.roll.touch(key)
	r.rotations.look(key.Mesh)
}

// heard is what is known of the proxies of a mesh, by name. Those that have gone, and have nothing that lives, are
// forgotten.
func (r *reconciler) heard(mesh string, living map[string][]policy.IssuedCertificate) map[string]heard {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	all := map[string]heard{}
	for key, last := range r.vanished {
		use := last.Uses
		switch {
		case key.Mesh != mesh:
		case use.over(now) && len(living[key.Name]) == 0:
			delete(r.vanished, key)
		default:
			all[key.Name] = heard{use: use}
		}
	}
	for key, s := range r.sessions {
		if key.Mesh == mesh {
			all[key.Name] = heard{s.delivery.secrets(), true, s.fault(faultIdentity)}
		}
	}
	return all
}
