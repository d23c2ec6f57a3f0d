package main

import (
	"errors"
	"fmt"
	"time"

	"koguma/policy"
	"koguma/token"
)

// issueOffline makes a token here, with a key of the user's own: the one that a control plane would make, by the same
// rules, but without the pin, which only a control plane knows.
func (c *cli) issueOffline(req tokenRequest, life time.Duration, keyPath, kid string) (token.Raw, error) {
	forever := life == 0
	if forever {
		life = token.MaxLife
	}
	claims, err := token.Request{Name: req.Name, Mesh: req.Mesh, Type: req.Type, Tags: req.Tags, Life: life}.Claims(time.Now())
	if bad := (*policy.Invalid)(nil); errors.As(err, &bad) {
		var text string
		for _, f := range bad.Fields {
			text += bullet(f.Field, f.Reason)
		}
		return "", errors.New("the token cannot be made" + text)
	}
	if err != nil {
		return "", err
	}
	key, err := c.readSigningKey(keyPath)
	if err != nil {
		return "", err
	}
	raw, err := token.Sign(token.SigningKey{KID: kid, Key: key}, claims)
	if err != nil {
		return "", err
	}
	if forever {
		c.warn("the token is valid for 10 years, because no validity was given; give one, such as 720h")
	}
	fmt.Fprintln(c.stderr, "Note: the token names no control plane to trust: kuma-dp needs --ca-cert-file with it, "+
		"unless a control plane runs on its machine")
	return raw, nil
}
