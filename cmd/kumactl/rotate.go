package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
	"koguma/token"
)

func (c *cli) rotateCommand() *cobra.Command {
	cmd := group("rotate", "Replace keys by new ones", c.rotateCA(), c.rotateSigningKey())
	cmd.Long = `Replace keys by new ones, step by step, so that no request is lost on the way: the CA of a mesh, or the key that signs its
tokens. What has not come to its end is gone on with by the same command.`
	return cmd
}

func (c *cli) rotateSigningKey() *cobra.Command {
	var mesh string
	var force bool
	cmd := &cobra.Command{
		Use:   "signing-key",
		Short: "Replace the key that signs the data plane tokens of a mesh",
		Long: `Replace the key that signs the data plane tokens of a mesh, in three steps:

1. The control plane makes the next key. It signs all tokens from then on; those of older keys are still valid.
2. Each proxy gets a new token. This is yours to do: kumactl shows who still lives on an older key, and the command
   that makes the new token.
3. The older keys are deleted, and with them ends what they have signed.

It goes as far as it can. While a proxy is connected by a token of an older key, step 3 fails, with exit code 1: give
out the new tokens and run it again. Where the mesh has several keys already, step 1 was done before.

Only proxies that are connected can be seen. One that is not, and has an old token, is refused once the key is gone.`,
		Example: `  kumactl rotate signing-key --mesh default
  kumactl rotate signing-key --mesh default --force   # the old key has leaked: whoever lives on it is cut off`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cp, path, err := c.inMesh(mesh)
			if err != nil {
				return err
			}
			r := &rotation{cli: c, cp: cp, mesh: mesh, path: path}
			return r.run(cmd.Context(), force)
		},
	}
	addMeshFlag(cmd, &mesh)
	cmd.Flags().BoolVar(&force, "force", false, "delete the older keys although proxies still live on them, which cuts those off")
	return cmd
}

// rotation replaces the signing key of a mesh. Each step looks at what there is, so it may be done again, and at the
// same time by somebody else.
type rotation struct {
	*cli
	cp   *client
	mesh string
	path string // of the mesh
}

func (r *rotation) run(ctx context.Context, force bool) error {
	older, err := r.renew(ctx)
	if err != nil || len(older) == 0 {
		return err
	}
	all, err := r.cp.tokensInUse(ctx, r.mesh)
	if err != nil {
		return err
	}
	unseen, err := r.unseen(ctx, all)
	if err != nil {
		return err
	}
	kids := map[string]bool{}
	for _, k := range older {
		kids[strconv.Itoa(k.Serial)] = true
	}
	all = slices.DeleteFunc(all, func(u policy.TokenUse) bool { return !kids[u.KeyID] })
	if len(all) > 0 {
		if err := r.show(all); err != nil {
			return err
		}
		if !force {
			return fmt.Errorf("%s on %s of mesh %q, so nothing was deleted\nGive out the new tokens, then run this again: "+
				"kumactl rotate signing-key --mesh %s", lives(len(all)), named(older), r.mesh, r.mesh)
		}
	}
	r.warn("a proxy that is not connected now cannot be seen%s; one with a token of %s needs a new one from now on", unseen, named(older))
	return r.delete(ctx, older)
}

// unseen names the proxies that are known and not connected, for a message; "" if there are none.
func (r *rotation) unseen(ctx context.Context, connected []policy.TokenUse) (string, error) {
	const most = 10
	dataplanes, err := allPages[policy.Dataplane](ctx, r.cp, r.path+"/dataplanes")
	if err != nil {
		return "", err
	}
	seen := map[string]bool{}
	for i := range connected {
		seen[connected[i].Proxy] = true
	}
	var names []string
	for i := range dataplanes {
		if name := dataplanes[i].Name; !seen[name] {
			names = append(names, name)
		}
	}
	if n := len(names); n > most {
		names = append(names[:most], fmt.Sprintf("%d more", n-most))
	}
	if names == nil {
		return "", nil
	}
	return " (such as " + strings.Join(names, ", ") + ")", nil
}

// renew sees to it that there is a newer key than the one that there was, and returns those older than the newest.
func (r *rotation) renew(ctx context.Context) ([]policy.SigningKey, error) {
	keys, err := r.keys(ctx)
	if err != nil {
		return nil, err
	}
	if len(keys) < 2 {
		after := 0
		if len(keys) == 1 {
			after = keys[0].Serial
		}
		body := struct {
			After int `json:"after"`
		}{after}
		var made policy.SigningKey
		if _, err := r.cp.call(ctx, http.MethodPost, r.path+"/signing-keys", nil, body, &made); err != nil {
			return nil, err
		}
		if keys, err = r.keys(ctx); err != nil {
			return nil, err
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("somebody deletes the signing keys at the same time: look at kumactl get secrets")
	}
	newest := keys[len(keys)-1]
	_, err = fmt.Fprintf(r.stdout, "signing key %d of mesh %q signs all new tokens\n", newest.Serial, r.mesh)
	return keys[:len(keys)-1], err
}

// keys are those of the mesh, the newest last.
func (r *rotation) keys(ctx context.Context) ([]policy.SigningKey, error) {
	keys, err := allPages[policy.SigningKey](ctx, r.cp, r.path+"/signing-keys")
	slices.SortFunc(keys, func(a, b policy.SigningKey) int { return a.Serial - b.Serial })
	return keys, err
}

// show tells who lives on an older key, and how to make the new tokens: one for all that share the old one.
func (r *rotation) show(all []policy.TokenUse) error {
	t := &table{header: []string{"PROXY", "JTI", "KID", "EXPIRES"}}
	sharing := map[string][]string{}
	byID := map[string]*policy.TokenUse{}
	now := time.Now()
	for i := range all {
		u := &all[i]
		t.rows = append(t.rows, []string{u.Proxy, u.ID, u.KeyID, expiry(u.ExpiresAt, now)})
		sharing[u.ID] = append(sharing[u.ID], u.Proxy)
		byID[u.ID] = u
	}
	fmt.Fprintf(r.stdout, "\n%s on an older one:\n\n", lives(len(all)))
	if err := t.write(r.stdout); err != nil {
		return err
	}
	fmt.Fprint(r.stdout, "\nThese make new tokens for them:\n\n")
	for _, id := range slices.SortedFunc(maps.Keys(byID), func(a, b string) int { return strings.Compare(sharing[a][0], sharing[b][0]) }) {
		fmt.Fprintf(r.stdout, "  # %s\n  %s\n", printable(strings.Join(sharing[id], ", ")), printable(renewal(byID[id])))
	}
	_, err := fmt.Fprintln(r.stdout)
	return err
}

// renewal is the command that makes a token like the one in use.
func renewal(u *policy.TokenUse) string {
	words := []string{"kumactl generate dataplane-token --mesh", quote(u.Mesh)}
	if u.Bounds.Name != "" {
		words = append(words, "--name", quote(u.Bounds.Name))
	}
	for _, tag := range slices.Sorted(maps.Keys(u.Bounds.Tags)) {
		words = append(words, "--tag", quote(tag+"="+strings.Join(u.Bounds.Tags[tag], ",")))
	}
	if u.Bounds.Type != "" {
		words = append(words, "--type", quote(u.Bounds.Type))
	}
	life := "720h"
	if !u.IssuedAt.IsZero() { // a few seconds before it was
		life = shortest(min(u.ExpiresAt.Sub(u.IssuedAt).Truncate(time.Minute), token.MaxLife))
	}
	return strings.Join(append(words, "--valid-for", life, "> TOKEN-FILE"), " ")
}

// shortest is how a person writes whole minutes, one at least: "720h" or "1h30m".
func shortest(d time.Duration) string {
	if d = max(d, time.Minute); d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return strings.TrimSuffix(d.String(), "0s")
}

// delete deletes these keys. One that somebody else has deleted meanwhile is as good.
func (r *rotation) delete(ctx context.Context, keys []policy.SigningKey) error {
	for _, k := range keys {
		if err := r.cp.delete(ctx, secretKind(), r.mesh, k.Name, false); err != nil && !isNotFound(err) {
			return err
		}
		if _, err := fmt.Fprintf(r.stdout, "deleted signing key %d of mesh %q\n", k.Serial, r.mesh); err != nil {
			return err
		}
	}
	return nil
}

// named is "signing key 1", or "signing keys 1, 2".
func named(keys []policy.SigningKey) string {
	text := "signing key "
	if len(keys) > 1 {
		text = "signing keys "
	}
	for i, k := range keys {
		if i > 0 {
			text += ", "
		}
		text += strconv.Itoa(k.Serial)
	}
	return text
}

// lives is "1 proxy lives", or "2 proxies live".
func lives(n int) string {
	if n == 1 {
		return "1 proxy lives"
	}
	return fmt.Sprintf("%d proxies live", n)
}

// quote is s as one word of a shell.
func quote(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-/=,", c)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
