package testenv

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"koguma/policy"
)

// ReplaceFile puts a file that only we can read into the place of another, in one step: whoever reads finds one or the
// other, and nothing in between.
func ReplaceFile(path, content string) error {
	next := filepath.Join(filepath.Dir(path), ".next-"+filepath.Base(path))
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// TokensInUse are the ids of the tokens that the proxies of a mesh came in by, by the name of the proxy. Who has no stream
// to the control plane is not among them.
func (c *ControlPlane) TokensInUse(ctx context.Context, mesh string) (map[string]string, error) {
	status, body, err := Get(ctx, c.API+"/meshes/"+mesh+"/dataplane-tokens")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("tokens in use: %d %s", status, body)
	}
	var list struct {
		Items []policy.TokenUse `json:"items"`
	}
	if err := policy.DecodeOpen([]byte(body), &list); err != nil {
		return nil, err
	}
	used := map[string]string{}
	for _, t := range list.Items {
		used[t.Proxy] = t.ID
	}
	return used, nil
}
