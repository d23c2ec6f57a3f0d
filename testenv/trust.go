package testenv

import (
	"context"
	"fmt"
	"net/http"

	"koguma/policy"
)

// Trust is where the rotation of a mesh's CA stands.
func (c *ControlPlane) Trust(ctx context.Context, mesh string) (v policy.TrustOverview, err error) {
	status, body, err := Get(ctx, c.API+"/meshes/"+mesh+"/trust")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("trust: %d %s", status, body)
	}
	if err == nil {
		err = policy.Decode([]byte(body), &v)
	}
	return v, err
}
