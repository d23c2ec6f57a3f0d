package token

import (
	"errors"
	"fmt"
	"strings"
)

// maxID is how long the id of a token may be that is to be revoked.
const maxID = 128

// ValidID checks what is to be put on a list of revoked tokens: the id ("jti") of one, which is 1 to 128 printable ASCII
// characters, none of them a comma or a blank. The error does not quote it, because it may be a token by mistake.
func ValidID(id string) error {
	unprintable := func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }
	switch {
	case id == "":
		return errors.New("it is empty")
	case strings.Count(id, ".") == 2 && strings.HasPrefix(id, "eyJ"): // as every JWT begins
		return errors.New("it is a whole token, and the list has the ids (jti) of tokens")
	case len(id) > maxID || strings.ContainsFunc(id, unprintable):
		return fmt.Errorf("it is not 1 to %d printable ASCII characters without commas and blanks", maxID)
	}
	return nil
}
