package cp

import (
	"log/slog"

	"koguma/policy"
	"koguma/token"
)

// controlPlaneName is the actor of what the control plane does by itself.
const controlPlaneName = "mesh-system:control-plane"

// auditChange leaves a line for a change that nobody called the API for.
func auditChange(log *slog.Logger, actor, verb string, key policy.Key, more ...any) {
	k, _ := policy.KindOf(key.Type)
	attrs := []any{"actor", actor, "verb", verb, "object", "/meshes/" + key.Mesh + "/" + k.Path + "/" + key.Name}
	log.Info("audit", append(append(attrs, more...), "outcome", "done")...)
}

// bearer is what the audit log has of the token by which a proxy is known; nil where it needed none.
func bearer(c token.Claims) []any {
	if c.ID == "" {
		return nil
	}
	return []any{"jti", c.ID, "kid", c.KeyID}
}
