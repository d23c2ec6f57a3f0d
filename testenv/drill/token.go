package drill

import (
	"context"
	"fmt"
	"strings"
	"time"

	"koguma/testenv"
	"koguma/token"
)

// TokenFile is where the agent of a proxy reads its token.
func (m *Mesh) TokenFile(p *Proxy) string { return m.Path("tokens", p.Name) }

// Give makes a token for a proxy and puts it into the file that its agent reads, in one step.
func (m *Mesh) Give(ctx context.Context, p *Proxy, life time.Duration) (token.Claims, error) {
	raw, err := m.CP.Kumactl(ctx, "generate", "dataplane-token", "--mesh=default", "--name="+p.Name,
		fmt.Sprintf("--tag=kuma.io/service=%s,%s-echo", p.Service, p.Service), fmt.Sprint("--valid-for=", life))
	if err != nil {
		return token.Claims{}, err
	}
	claims, err := token.Inspect(token.Raw(strings.TrimSpace(raw)))
	if err != nil {
		return token.Claims{}, err
	}
	return claims, testenv.ReplaceFile(m.TokenFile(p), raw)
}
