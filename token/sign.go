package token

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Sign makes a token. An empty ID becomes a random UUID; IssuedAt and NotBefore, where zero, five seconds ago, for
// control planes whose clocks are behind. It refuses claims that [Verifier.Verify] or [Claims.Admit] never accept.
func Sign(k SigningKey, c Claims) (Raw, error) {
	if err := k.check(); err != nil {
		return "", err
	}
	issued := time.Now().Add(-5 * time.Second)
	c.IssuedAt = cmp.Or(c.IssuedAt, issued)
	c.NotBefore = cmp.Or(c.NotBefore, issued)
	if err := c.check(); err != nil {
		return "", fmt.Errorf("cannot make a token: %w", err)
	}
	typ := "JWT"
	head, err := segment(header{Algorithm: jwt.SigningMethodRS256.Alg(), KeyID: k.KID, Type: &typ})
	if err != nil {
		return "", err
	}
	p := payload{
		Name: c.Name, Mesh: c.Mesh, Type: c.Type, ID: cmp.Or(c.ID, NewID()), Pin: c.Pin,
		IssuedAt: seconds(c.IssuedAt), NotBefore: seconds(c.NotBefore), ExpiresAt: seconds(c.ExpiresAt),
	}
	if len(c.Tags) > 0 {
		p.Tags = c.Tags
	}
	body, err := segment(p)
	if err != nil {
		return "", err
	}
	text := head + "." + body
	signature, err := jwt.SigningMethodRS256.Sign(text, k.Key)
	if err != nil {
		return "", fmt.Errorf("cannot sign the token with key %q: %w", k.KID, err)
	}
	text += "." + base64.RawURLEncoding.EncodeToString(signature)
	if len(text) > maxToken {
		return "", fmt.Errorf("the token would have %d bytes, and %d are accepted: give fewer tags", len(text), maxToken)
	}
	return Raw(text), nil
}

func (c Claims) check() error {
	switch {
	case c.Mesh == "":
		return errors.New("it needs a mesh")
	case !validType(c.Type):
		return fmt.Errorf("there is no type %q: use %s, %s or %s", c.Type, TypeDataplane, TypeIngress, TypeEgress)
	case c.Workload != "":
		return errors.New("it cannot be bound to a workload: use a name or tags")
	case !c.ExpiresAt.After(c.IssuedAt) || !c.ExpiresAt.After(c.NotBefore):
		return errors.New("it would have ended before it began: give a longer validity")
	case c.ExpiresAt.Unix() >= maxTime:
		return errors.New("it would end after the year 9999: give a shorter validity")
	}
	return checkTags(c.Tags)
}

func validType(t string) bool {
	switch t {
	case "", TypeDataplane, TypeIngress, TypeEgress:
		return true
	}
	return false
}

func segment(v any) (string, error) {
	b, err := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(b), err
}

func seconds(t time.Time) *int64 {
	s := t.Unix()
	return &s
}

// NewID is a random UUID (version 4), for whatever needs an id that nobody else has.
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
