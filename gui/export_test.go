package gui

// Views is how many meshes are looked at.
func Views(s *Server) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.views)
}
