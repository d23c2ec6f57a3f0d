package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
)

// Fingerprint is the SHA-256 of a certificate in hexadecimal: what openssl x509 -fingerprint -sha256 prints, in lower case
// and without the colons.
func Fingerprint(c *x509.Certificate) string {
	h := sha256.Sum256(c.Raw)
	return hex.EncodeToString(h[:])
}

// Serial is the serial number of a certificate as openssl x509 -serial prints it.
func Serial(c *x509.Certificate) string { return fmt.Sprintf("%X", c.SerialNumber.Bytes()) }
