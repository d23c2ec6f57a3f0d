package certs

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	maxPEM          = 128 << 10
	maxChain        = 10
	typeCertificate = "CERTIFICATE"
)

// EncodeChain is the chain in PEM, in its order.
func EncodeChain(chain []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range chain {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: c.Raw}))
	}
	return b.Bytes()
}

// ParseChain reads 1 to 10 certificates in PEM and nothing besides: text around them is an error.
func ParseChain(data []byte) ([]*x509.Certificate, error) {
	blocks, err := splitPEM(data)
	if err != nil {
		return nil, err
	}
	chain := make([]*x509.Certificate, len(blocks))
	for i, b := range blocks {
		if b.Type != typeCertificate {
			return nil, fmt.Errorf("PEM block %d is a %q, not a certificate", i+1, b.Type)
		}
		if chain[i], err = x509.ParseCertificate(b.Bytes); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	return chain, nil
}

// EncodeKey is the private key in PEM, as PKCS#8.
func EncodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads a private key in PEM (as PKCS#8, PKCS#1 or SEC 1), and nothing besides. The errors say nothing of its content.
func ParseKey(data []byte) (crypto.Signer, error) {
	block, err := onePEM(data)
	if err != nil {
		return nil, err
	}
	var key any
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errEncrypted
	default:
		return nil, fmt.Errorf("it is a %q, not a private key", block.Type)
	}
	if err != nil { // of crypto/x509, whose errors describe structure
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it cannot sign")
	}
	return signer, nil
}

var errEncrypted = errors.New("it is encrypted; decrypt it first, with openssl pkey")

func onePEM(data []byte) (*pem.Block, error) {
	blocks, err := splitPEM(data)
	if err != nil {
		return nil, err
	}
	if len(blocks) > 1 {
		return nil, fmt.Errorf("it has %d PEM blocks; give one", len(blocks))
	}
	return blocks[0], nil
}

// splitPEM reads PEM blocks with nothing but white space around them. encoding/pem alone would skip whatever it cannot
// read, a broken first block too.
func splitPEM(data []byte) ([]*pem.Block, error) {
	if len(data) > maxPEM {
		return nil, fmt.Errorf("it has %d bytes, more than %d", len(data), maxPEM)
	}
	begin := []byte("-----BEGIN ")
	var blocks []*pem.Block
	for data = bytes.TrimSpace(data); len(data) > 0; data = bytes.TrimSpace(data) {
		if !bytes.HasPrefix(data, begin) {
			return nil, fmt.Errorf("there is something that is not PEM before or after PEM block %d", len(blocks)+1)
		}
		block, rest := pem.Decode(data)
		switch {
		case block == nil || bytes.Count(data[:len(data)-len(rest)], begin) != 1:
			return nil, fmt.Errorf("PEM block %d is broken", len(blocks)+1)
		case block.Headers["DEK-Info"] != "":
			return nil, errEncrypted
		case len(block.Headers) > 0:
			return nil, fmt.Errorf("PEM block %d has headers", len(blocks)+1)
		case len(blocks) == maxChain:
			return nil, fmt.Errorf("there are more than %d PEM blocks", maxChain)
		}
		blocks, data = append(blocks, block), rest
	}
	if len(blocks) == 0 {
		return nil, errors.New("it is empty; PEM was expected")
	}
	return blocks, nil
}
