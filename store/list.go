package store

import (
	"context"

	"koguma/policy"
)

// ListOf is what [Store.List] finds of the type that R stands for.
func ListOf[R policy.Resource](ctx context.Context, s Store, t policy.Type, mesh string) ([]R, error) {
	found, err := s.List(ctx, t, mesh)
	if err != nil {
		return nil, err
	}
	all := make([]R, len(found))
	for i, r := range found {
		all[i] = r.(R)
	}
	return all, nil
}
