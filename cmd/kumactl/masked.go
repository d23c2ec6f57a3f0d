package main

import (
	"fmt"
	"slices"

	"koguma/policy"
)

// masked is a resource to be shown: in the place of what is secret it says how much that is. What is masked cannot be applied by
// mistake: it is neither base64 nor PEM.
func masked(r policy.Resource) (any, error) {
	type secret struct {
		policy.Meta
		Data string `json:"data"`
	}
	switch r := r.(type) {
	case *policy.Secret:
		return secret{r.Meta, fmt.Sprint(r.Data)}, nil
	case *policy.GlobalSecret:
		return secret{r.Meta, fmt.Sprint(r.Data)}, nil
	case *policy.Mesh:
		return maskedMesh(r)
	}
	return r, nil
}

// maskedMesh is a mesh whose backends show nothing of what stands inline in them, which may be private keys.
func maskedMesh(m *policy.Mesh) (*policy.Mesh, error) {
	if m.MTLS == nil {
		return m, nil
	}
	shown, mtls := *m, *m.MTLS
	mtls.Backends = slices.Clone(mtls.Backends)
	shown.MTLS = &mtls
	for i := range mtls.Backends {
		b := &mtls.Backends[i]
		if b.Conf == "" {
			continue
		}
		var conf any
		err := b.Conf.Decode(&conf)
		if err == nil {
			maskInline(conf)
			b.Conf, err = policy.DocumentOf(conf)
		}
		if err != nil {
			return nil, fmt.Errorf("mTLS backend %q: conf: %w", b.Name, err)
		}
	}
	return &shown, nil
}

// maskInline masks what stands inline in the configuration of a backend.
func maskInline(conf any) {
	switch conf := conf.(type) {
	case map[string]any:
		for name, v := range conf {
			if name == "inline" || name == "inlineString" {
				conf[name] = "[hidden]"
				continue
			}
			maskInline(v)
		}
	case []any:
		for _, v := range conf {
			maskInline(v)
		}
	}
}
