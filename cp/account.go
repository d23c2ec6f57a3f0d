package cp

import (
	"time"

	"koguma/cp/api"
	"koguma/policy"
	"koguma/token"
)

// tally is the answer to a question.
type tally struct {
	Accounts []account `json:"accounts,omitempty"`
}

// account is what a control plane knows of a proxy that is, or was, connected to it. Of the parts, the one that was asked for is
// there. No private key is.
type account struct {
	Mesh      string    `json:"mesh"`
	Proxy     string    `json:"proxy"`
	Connected bool      `json:"connected,omitempty"`
	At        time.Time `json:"at"` // when it connected, or how it was connected ended

	Insight   *policy.DataplaneInsight `json:"insight,omitempty"`
	Plaintext []policy.InboundMTLS     `json:"plaintext,omitempty"` // a part of the insight
	Identity  *policy.ProxyIdentity    `json:"identity,omitempty"`
	Token     *tokenAccount            `json:"token,omitempty"` // nil also where it has none
	Pending   []policy.Pending         `json:"pending,omitempty"`
	Absent    *policy.AbsentProxy      `json:"absent,omitempty"` // with the delivery, nil while it is connected
	Standing  *standingAccount         `json:"standing,omitempty"`
}

func (a *account) key() policy.Key {
	return policy.Key{Type: policy.TypeDataplane, Mesh: a.Mesh, Name: a.Proxy}
}

// newer reports whether a says more of a proxy than another account of it: one who is connected more than one who is gone, and
// the later more than the earlier.
func (a *account) newer(o *account) bool {
	if a.Connected != o.Connected {
		return a.Connected
	}
	return a.At.After(o.At)
}

// tokenAccount is the token of a proxy, without its text.
type tokenAccount struct {
	ID        string              `json:"id"`
	KeyID     string              `json:"keyId"`
	KeySum    string              `json:"keySum,omitempty"`
	Name      string              `json:"name,omitempty"`
	Tags      map[string][]string `json:"tags,omitempty"`
	Type      string              `json:"type,omitempty"`
	IssuedAt  time.Time           `json:"issuedAt,omitzero"`
	NotBefore time.Time           `json:"notBefore,omitzero"`
	ExpiresAt time.Time           `json:"expiresAt"`
}

func newTokenAccount(c *token.Claims) *tokenAccount {
	if c.KeyID == "" { // without authentication nobody has one
		return nil
	}
	return &tokenAccount{
		ID: c.ID, KeyID: c.KeyID, KeySum: c.KeySum, Name: c.Name, Tags: c.Tags, Type: c.Type,
		IssuedAt: c.IssuedAt, NotBefore: c.NotBefore, ExpiresAt: c.ExpiresAt,
	}
}

func (t *tokenAccount) claims(mesh string) token.Claims {
	return token.Claims{
		Mesh: mesh, ID: t.ID, KeyID: t.KeyID, KeySum: t.KeySum, Name: t.Name, Tags: t.Tags, Type: t.Type,
		IssuedAt: t.IssuedAt, NotBefore: t.NotBefore, ExpiresAt: t.ExpiresAt,
	}
}

// accounts answers a question of another control plane.
func (r *reconciler) accounts(q api.Question) []account {
	all := r.present(q)
	for i := range all {
		a := &all[i]
		key := a.key()
		switch q.About {
		case api.AboutInsight:
			insight := r.Insight(key)
			a.Insight, a.Plaintext = &insight, insight.Plaintext
		case api.AboutIdentity:
			identity := r.Identity(key)
			a.Identity = &identity
		case api.AboutToken:
			if s := r.connected(key); s != nil {
				a.Token = newTokenAccount(&s.claims)
			}
		case api.AboutDelivery:
			r.mu.Lock()
			s, e := r.sessions[key], r.endings[key]
			r.mu.Unlock()
			if a.Connected = s != nil; s != nil {
				a.Pending = s.pending(q.Version)
			} else {
				absent := e.Absent(a.Proxy)
				a.Absent = &absent
			}
		case api.AboutStanding:
			a.Standing = newStandingAccount(r.Standing(key))
		}
	}
	return all
}

// present is of which of the proxies that a question is about there is something to tell, without that.
func (r *reconciler) present(q api.Question) []account {
	names := map[string]bool{}
	for _, n := range q.Proxies {
		names[n] = true
	}
	asked := func(key policy.Key) bool {
		return (q.Mesh == "" || key.Mesh == q.Mesh) && (len(names) == 0 || names[key.Name])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []account
	for key, s := range r.sessions {
		if asked(key) {
			all = append(all, account{Mesh: key.Mesh, Proxy: key.Name, Connected: true, At: s.since})
		}
	}
	for key, e := range r.endings {
		if asked(key) && r.sessions[key] == nil {
			all = append(all, account{Mesh: key.Mesh, Proxy: key.Name, At: e.At})
		}
	}
	return all
}
