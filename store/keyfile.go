package store

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
)

// keySize is that of AES-256.
const keySize = 32

// maxKeyFile bounds a key file, in bytes: it holds a few short lines.
const maxKeyFile = 64 << 10

// keyID tells keys apart without telling them: it is how the SHA-256 of the key begins.
type keyID [8]byte

func (id keyID) String() string { return hex.EncodeToString(id[:]) }

// Keys seal what is secret before it is kept, and open it again. A nil Keys seals nothing and opens nothing that is sealed.
// They may be used from several goroutines at once.
type Keys struct {
	file string
	list []sealingKey // the first seals, each opens
	// stale counts the records that were opened and are not sealed with the first key.
	stale atomic.Int64
}

type sealingKey struct {
	id   keyID
	aead cipher.AEAD
}

// ReadKeys reads a file with keys of 32 bytes each, one a line, in base64 or hex. The first one seals, all of them open. Empty
// lines, and those that begin with #, do not count. A file that others may read is refused, and so is one with anything else
// in it.
func ReadKeys(file string) (*Keys, error) {
	data, err := readPrivate(file)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	k := &Keys{file: file}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if err := k.add(text); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", file, n, err)
		}
	}
	if len(k.list) == 0 {
		return nil, fmt.Errorf("%s: there is no key in it; make one: openssl rand -base64 32 >%s", file, file)
	}
	return k, nil
}

// readPrivate reads a file that belongs to this user alone.
func readPrivate(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", file)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s has mode %04o, so that others than its owner can read or write it; chmod 600 %s", file, info.Mode().Perm(), file)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(data) > maxKeyFile {
		err = fmt.Errorf("%s is larger than %d bytes, and so no key file", file, maxKeyFile)
	}
	return data, err
}

// add adds the key that a line says. What the line says is in no error.
func (k *Keys) add(line string) error {
	key, err := parseKey(line)
	if err != nil {
		return err
	}
	defer clear(key)
	sum := sha256.Sum256(key)
	id := keyID(sum[:])
	if k.find(id) != nil {
		return fmt.Errorf("the key %s is there twice; leave it out here", id)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return err
	}
	k.list = append(k.list, sealingKey{id, aead})
	return nil
}

// parseKey reads a key. Which of the two ways to write it is used shows in the length.
func parseKey(line string) ([]byte, error) {
	decode := base64.StdEncoding.WithPadding(base64.NoPadding).DecodeString
	text := strings.TrimRight(line, "=")
	if len(line) == hex.EncodedLen(keySize) {
		decode, text = hex.DecodeString, line
	}
	key, err := decode(text)
	switch {
	case err != nil: // which quotes what it cannot read
		return nil, errors.New("it is neither base64 nor hex; make a key: openssl rand -base64 32")
	case len(key) != keySize:
		return nil, fmt.Errorf("the key has %d bytes, and has to have %d; make one: openssl rand -base64 %d", len(key), keySize, keySize)
	}
	return key, nil
}

// find is the key with that id, or nil.
func (k *Keys) find(id keyID) *sealingKey {
	for i := range k.list {
		if k.list[i].id == id {
			return &k.list[i]
		}
	}
	return nil
}

// Stale is how many records with secrets have been read so far that are in clear, or sealed with another key than the first.
func (k *Keys) Stale() int {
	if k == nil {
		return 0
	}
	return int(k.stale.Load())
}
