package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"koguma/policy"
	"koguma/token"
)

const (
	// maxLife is the longest that a token lives, and how long it does if nobody says.
	maxLife = 10 * 365 * 24 * time.Hour
	// maxTags bounds the tags in a token, in bytes of JSON.
	maxTags = 4 << 10
)

// issueOffline makes a token here, with a key of the user's own: the one that a control plane would make, by the same
// rules, but without the pin, which only a control plane knows.
func (c *cli) issueOffline(req tokenRequest, life time.Duration, keyPath, kid string) (token.Raw, error) {
	forever := life == 0
	if forever {
		life = maxLife
	}
	if err := req.check(life); err != nil {
		return "", err
	}
	key, err := c.readSigningKey(keyPath)
	if err != nil {
		return "", err
	}
	raw, err := token.Sign(token.SigningKey{KID: kid, Key: key}, token.Claims{
		Name: req.Name, Mesh: req.Mesh, Tags: req.Tags, Type: req.Type, ExpiresAt: time.Now().Add(life),
	})
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

// check makes the tags canonical. It refuses what a control plane would, in the same words.
func (req *tokenRequest) check(life time.Duration) error {
	var text string
	add := func(field string, err error) {
		if err != nil {
			text += bullet(field, err.Error())
		}
	}
	if req.Name != "" {
		add("name", policy.ValidName(req.Name))
	}
	add("mesh", policy.ValidMeshName(req.Mesh))
	switch req.Type {
	case "", token.TypeDataplane, token.TypeIngress, token.TypeEgress:
	default:
		add("type", fmt.Errorf("must be %s, %s or %s", token.TypeDataplane, token.TypeIngress, token.TypeEgress))
	}
	for key, values := range req.Tags {
		field := fmt.Sprintf("tags[%q]", key)
		add(field, policy.ValidTagKey(key))
		for _, v := range values {
			add(field, policy.ValidTagValue(v))
		}
		slices.Sort(values)
	}
	if data, err := policy.Encode(req.Tags); err != nil || len(data) > maxTags {
		add("tags", fmt.Errorf("must be at most %d bytes of JSON", maxTags))
	}
	switch {
	case life < time.Second:
		add("validFor", errors.New("must be at least 1s: such a token would be of no use"))
	case life > maxLife:
		add("validFor", fmt.Errorf("must be at most %v, which is 10 years", maxLife))
	}
	if text != "" {
		return errors.New("the token cannot be made" + text)
	}
	return nil
}
