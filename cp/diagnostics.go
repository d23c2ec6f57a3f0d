package cp

import (
	"io"
	"net/http"
)

// newDiagnostics answers /healthy while the process runs, /ready while ready says so (or with its error, which has to
// be fit for anybody, as the warnings have to be that stand below), and /metrics.
func newDiagnostics(ready func() error, warnings []string, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthy", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "OK\n")
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "OK\n")
		for _, warning := range warnings {
			io.WriteString(w, "warning: "+warning+"\n")
		}
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}
