package cp_test

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// askBootstrap asks for a bootstrap, in the form that accept names. A body that is no text is sent as JSON.
func (p *plane) askBootstrap(accept string, body any) response {
	p.t.Helper()
	text, ok := body.(string)
	if !ok {
		data, err := json.Marshal(body)
		if err != nil {
			p.t.Fatal(err)
		}
		text = string(data)
	}
	r, err := http.NewRequestWithContext(p.t.Context(), "POST", "https://"+p.addrs.DP.String()+"/bootstrap", bytes.NewReader([]byte(text)))
	if err != nil {
		p.t.Fatal(err)
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	transport := &http.Transport{TLSClientConfig: p.tls("http/1.1"), DisableKeepAlives: true}
	return send(p.t, &http.Client{Transport: transport}, r)
}
