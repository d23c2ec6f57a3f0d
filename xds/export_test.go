package xds

// Held is how many resources the builder can find.
func (b *Builder) Held() int {
	b.memo.mu.Lock()
	defer b.memo.mu.Unlock()
	return len(b.memo.m)
}
