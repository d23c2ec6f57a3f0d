package drill

import (
	"io"

	"koguma/testenv"
)

// Serve has the proxy send straight to these two.
func (p *Proxy) Serve(http, echo *testenv.Workload) {
	p.address, p.ports["outHTTP"], p.ports["outEcho"] = "127.0.0.1", http.Port(), echo.Port()
}

// Report is report.
func (r *Record) Report(out io.Writer) error { return r.report(out) }
