package testenv

import (
	"context"
	"fmt"
	"net/http"

	"koguma/policy"
)

// Whoami is who the agent says that its proxy is.
func (a *Agent) Whoami(ctx context.Context) (policy.ProxyIdentity, error) {
	url, err := a.readiness(ctx)
	if err != nil {
		return policy.ProxyIdentity{}, err
	}
	return whoami(ctx, url+"/identity")
}

// Whoami is who the control plane says that a proxy of the mesh "default" is.
func (c *ControlPlane) Whoami(ctx context.Context, name string) (policy.ProxyIdentity, error) {
	return whoami(ctx, c.API+"/meshes/default/dataplanes/"+name+"/_identity")
}

func whoami(ctx context.Context, url string) (id policy.ProxyIdentity, err error) {
	status, body, err := Get(ctx, url)
	switch {
	case err != nil:
		return id, err
	case status != http.StatusOK:
		return id, fmt.Errorf("%s: %d %s", url, status, body)
	}
	err = policy.Decode([]byte(body), &id)
	return id, err
}
