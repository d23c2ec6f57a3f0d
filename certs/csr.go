package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// maxCSR bounds a certificate request; that of an RSA key of 8192 bits has 3 KiB.
const maxCSR = 8 << 10

const typeCSR = "CERTIFICATE REQUEST"

// NewCSR makes a certificate request in PEM that says nothing but "I have this key".
func NewCSR(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: typeCSR, Bytes: der}), nil
}

// ParseCSR is the public key of a certificate request in PEM, whose sender has shown to have the private key. Whatever
// else the request asks for is ignored: names and usages are the issuer's choice. The key is EC P-256 or P-384, or RSA
// of 2048 to 8192 bits.
func ParseCSR(data []byte) (crypto.PublicKey, error) {
	if len(data) > maxCSR {
		return nil, fmt.Errorf("certificate request: it has %d bytes, more than %d", len(data), maxCSR)
	}
	key, err := parseCSR(data)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	return key, nil
}

func parseCSR(data []byte) (crypto.PublicKey, error) {
	block, err := onePEM(data)
	if err != nil {
		return nil, err
	}
	if block.Type != typeCSR {
		return nil, fmt.Errorf("it is a %q", block.Type)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	if err := checkKey(csr.PublicKey); err != nil { // first: it bounds what the signature costs
		return nil, err
	}
	if !strongSignature(csr.SignatureAlgorithm) {
		return nil, fmt.Errorf("it is signed with %v; use SHA-256 or better", csr.SignatureAlgorithm)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, errors.New("its signature is not by its own key")
	}
	return csr.PublicKey, nil
}
