package xds

// Held is how many resources the builder can find.
func (b *Builder) Held() int {
	b.resources.mu.Lock()
	defer b.resources.mu.Unlock()
	return len(b.resources.m)
}
