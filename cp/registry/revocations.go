package registry

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode"

	"koguma/cp/problem"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// MaxRevocations bounds a list that ids are added to, in bytes: in base64 it must still fit into a PUT.
const MaxRevocations = policy.MaxSecret/4*3 - 4<<10

// Revoke puts ids on the list of a mesh, which keeps what it has. It returns those that it did not have, and how many
// there are now.
func (rs Registry) Revoke(ctx context.Context, mesh string, ids []string) (added []string, total int, err error) {
	err = store.Again(func() error {
		m, err := rs.Find(ctx, policy.Key{Type: policy.TypeMesh, Name: mesh})
		if err != nil {
			return err
		}
		if m == nil {
			return problem.Parameter("mesh", fmt.Sprintf("there is no mesh %q", mesh))
		}
		list := newSecret(mesh, policy.RevocationsName(mesh), nil)
		old, err := rs.Find(ctx, list.Key())
		if err != nil {
			return err
		}
		if old != nil {
			list.Labels, list.Data = old.Metadata().Labels, old.(*policy.Secret).Data
		}
		list.Data, added, total = join(list.Data, ids)
		if len(added) == 0 {
			return nil
		}
		if len(list.Data) > MaxRevocations {
			return problem.Conflict(list.Key(), fmt.Sprintf("the list would have more than %d bytes; "+
				"take the ids off of tokens that have expired, or delete the key that signed them", MaxRevocations))
		}
		return rs.Store.Write(ctx, store.Unchanged(m), store.Op{Put: list, Expect: store.AsRead(old)})
	})
	return added, total, err
}

// join is a list of revoked tokens with more ids at its end: those of ids that it does not have yet. It also tells how
// many it has then.
func join(list []byte, ids []string) (joined []byte, added []string, total int) {
	known := map[string]bool{}
	for id := range RevokedIDs(list) {
		known[id] = true
	}
	for _, id := range ids {
		if !known[id] {
			known[id] = true
			added = append(added, id)
		}
	}
	list = bytes.TrimRightFunc(list, separatesIDs)
	if len(list) > 0 && len(added) > 0 {
		list = append(slices.Clone(list), ',')
	}
	return append(list, strings.Join(added, ",")...), added, len(known)
}

// RevokedIDs are the ids on a list: commas and white space separate them.
func RevokedIDs(list []byte) iter.Seq[string] {
	return strings.FieldsFuncSeq(string(list), separatesIDs)
}

func separatesIDs(r rune) bool { return r == ',' || unicode.IsSpace(r) }

// checkRevocations refuses a list with something on it that is no id: who wrote it believes that it revokes a token.
func checkRevocations(list []byte) error {
	n := 0
	for id := range RevokedIDs(list) {
		n++
		if err := token.ValidID(id); err != nil {
			return problem.Parameter("data", fmt.Sprintf("entry %d of the list: %v", n, err))
		}
	}
	return nil
}
