package policy

// Validate implements [Resource].
func (m *Mesh) Validate() error { return nil }

// Validate implements [Resource].
func (d *Dataplane) Validate() error { return nil }

// Validate implements [Resource].
func (p *TrafficPermission) Validate() error { return nil }

// Validate implements [Resource].
func (s *Secret) Validate() error { return nil }

// Validate implements [Resource].
func (s *GlobalSecret) Validate() error { return nil }
