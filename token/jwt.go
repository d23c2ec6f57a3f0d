package token

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"koguma/policy"
)

// maxToken is as long as a token may be, in bytes.
const maxToken = 8 << 10

// kidForm is what the id of a signing key looks like. It is only ever looked up, byte by byte.
var kidForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// ValidKeyID reports what is wrong with the id of a key ("kid").
func ValidKeyID(kid string) error {
	if !kidForm.MatchString(kid) {
		return errors.New("must be 1 to 64 letters, digits, '.', '_' or '-'")
	}
	return nil
}

// segments is a token taken apart, nothing of it believed yet.
type segments struct {
	signed         string // what the signature covers
	header, claims []byte
	signature      []byte
}

type header struct {
	Algorithm string  `json:"alg"`
	KeyID     string  `json:"kid"`
	Type      *string `json:"typ,omitempty"`
	Critical  any     `json:"crit,omitempty"`
}

// payload is the claims as they travel. Tags is an any because Kuma writes null for a token that has none.
type payload struct {
	Name      string `json:"Name,omitempty"`
	Mesh      string `json:"Mesh,omitempty"`
	Tags      any    `json:"Tags,omitempty"`
	Type      string `json:"Type,omitempty"`
	Workload  string `json:"Workload,omitempty"`
	ID        string `json:"jti,omitempty"`
	IssuedAt  *int64 `json:"iat,omitempty"`
	NotBefore *int64 `json:"nbf,omitempty"`
	ExpiresAt *int64 `json:"exp,omitempty"`
	Pin       string `json:"Pin,omitempty"`
}

// Inspect reads what a token says without checking that it is genuine: an agent learns from its own token when it ends
// and whom to trust. Nobody else may believe the result.
func Inspect(raw Raw) (Claims, error) {
	s, refusal := split(raw)
	if refusal != nil {
		return Claims{}, refusal
	}
	if _, refusal := s.readHeader(); refusal != nil {
		return Claims{}, refusal
	}
	p, err := s.readClaims()
	if err != nil { // which may quote what nobody has vouched for
		return Claims{}, malformed("its claims are not those of a data plane token")
	}
	c, err := p.claims(raw)
	if err != nil {
		return Claims{}, malformed(err.Error())
	}
	return c, nil
}

// split allows one text for each token only: the base64 of a JWT could otherwise be changed without breaking it.
func split(raw Raw) (segments, *Refusal) {
	text := string(raw)
	switch {
	case text == "":
		return segments{}, refuse(ReasonMissing, "start kuma-dp with --dataplane-token-file", "there is none")
	case len(text) > maxToken:
		return segments{}, malformed(fmt.Sprintf("it has more than %d bytes", maxToken))
	case strings.Count(text, ".") != 2:
		return segments{}, malformed("it is not three parts joined by dots")
	case strings.ContainsAny(text, "\r\n"): // which encoding/base64 would skip
		return segments{}, malformed("there are line breaks in it")
	}
	var decoded [3][]byte
	for i, part := range strings.Split(text, ".") {
		b, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || len(b) == 0 {
			return segments{}, malformed(fmt.Sprintf("its part %d is not base64url", i+1))
		}
		decoded[i] = b
	}
	return segments{text[:strings.LastIndexByte(text, '.')], decoded[0], decoded[1], decoded[2]}, nil
}

// readHeader is the id of the key that the token names. Nothing else in the header has any effect: keys and addresses
// of keys that it may bring are those of whoever made the token.
func (s segments) readHeader() (kid string, refusal *Refusal) {
	var h header
	if err := policy.DecodeOpen(s.header, &h); err != nil {
		return "", malformed("its header is not that of a JWT")
	}
	switch {
	case h.Algorithm != "RS256":
		return "", refuse(ReasonAlgorithm, "sign tokens with RS256 and a key of the mesh", "its algorithm is not RS256")
	case h.Type != nil && *h.Type != "JWT":
		return "", malformed("it is of another type than JWT")
	case h.Critical != nil:
		return "", malformed("it demands extensions (crit), and there are none")
	case !kidForm.MatchString(h.KeyID):
		return "", malformed(`its "kid" is not 1 to 64 letters, digits, '.', '_' or '-'`)
	}
	return h.KeyID, nil
}

// readClaims reads the claims. The error may quote them.
func (s segments) readClaims() (payload, error) {
	var p payload
	if err := policy.DecodeOpen(s.claims, &p); err != nil {
		return payload{}, fmt.Errorf("its claims cannot be read: %q", err)
	}
	return p, nil
}

// claims are the claims in our words, if they have what is needed whoever asks. The error does not quote them.
func (p payload) claims(raw Raw) (Claims, error) {
	if p.ExpiresAt == nil {
		return Claims{}, errors.New(`it has no "exp", and a token without an end is not accepted`)
	}
	tags, err := readTags(p.Tags)
	if err != nil {
		return Claims{}, err
	}
	c := Claims{Name: p.Name, Mesh: p.Mesh, Tags: tags, Type: p.Type, Workload: p.Workload, ID: p.ID, Pin: p.Pin}
	for _, t := range []struct {
		name string
		from *int64
		to   *time.Time
	}{{"iat", p.IssuedAt, &c.IssuedAt}, {"nbf", p.NotBefore, &c.NotBefore}, {"exp", p.ExpiresAt, &c.ExpiresAt}} {
		if t.from == nil {
			continue
		}
		if *t.from <= 0 || *t.from >= maxTime {
			return Claims{}, fmt.Errorf("its %q is no time between 1970 and 9999", t.name)
		}
		*t.to = time.Unix(*t.from, 0).UTC()
	}
	if c.ExpiresAt.Before(c.NotBefore) {
		return Claims{}, errors.New(`it ends ("exp") before it begins ("nbf")`)
	}
	if ValidID(c.ID) != nil { // there is none, or one that no list could name
		sum := sha256.Sum256([]byte(raw))
		c.ID = hex.EncodeToString(sum[:])
	}
	return c, nil
}

// readTags is nil for a token without tags, however that is written.
func readTags(v any) (map[string][]string, error) {
	errForm := errors.New(`its "Tags" are not an object with lists of text`)
	if v == nil {
		return nil, nil
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errForm
	}
	tags := make(map[string][]string, len(object))
	for tag, v := range object {
		list, ok := v.([]any)
		if !ok {
			return nil, errForm
		}
		tags[tag] = make([]string, len(list))
		for i, v := range list {
			if tags[tag][i], ok = v.(string); !ok {
				return nil, errForm
			}
		}
	}
	return tags, nil
}

// maxTime is the first second of the year 10000, which RFC 3339 cannot write.
const maxTime = 253402300800

// checkTags refuses tags that would bind nothing, or everything.
func checkTags(tags map[string][]string) error {
	for tag, values := range tags {
		if tag == "" {
			return errors.New("it has a tag without a name")
		}
		if len(values) == 0 {
			return fmt.Errorf("it allows no value for the tag %q", tag)
		}
		for _, v := range values {
			if v == "" {
				return fmt.Errorf("it has an empty value for the tag %q", tag)
			}
		}
	}
	return nil
}
