package store

import (
	"errors"
	"fmt"

	"koguma/policy"
)

// What is sealed is an envelope: a byte for its format, the id of the key, and what AES-256-GCM makes of the secret, with a
// random nonce before it and a tag after it. The format and the key of the resource are authenticated too, so that no record
// takes the place of another.
const (
	sealedFormat = 1
	sealedHeader = 1 + len(keyID{})
)

// ErrSealed says that something in the store is sealed and cannot be opened with the keys at hand.
var ErrSealed = errors.New("cannot be opened")

// secretTypes are the types of resources that [secretOf] finds something in.
var secretTypes = [...]policy.Type{policy.TypeGlobalSecret, policy.TypeSecret}

// secretOf is where r holds what is to be sealed, nil if r is no secret.
func secretOf(r policy.Resource) *policy.Bytes {
	switch r := r.(type) {
	case *policy.Secret:
		return &r.Data
	case *policy.GlobalSecret:
		return &r.Data
	}
	return nil
}

// hide seals what is secret in a record, and reports whether there was anything to seal. The resource stays as it is: the
// record gets another.
func (k *Keys) hide(rec *record) bool {
	secret := secretOf(rec.Resource)
	if k == nil || secret == nil || len(*secret) == 0 {
		return false
	}
	first, m := k.list[0], rec.Resource.Metadata()
	envelope := append([]byte{sealedFormat}, first.id[:]...)
	rec.Sealed = first.aead.Seal(envelope, nil, *secret, additional(m.Key()))
	rec.Resource = stamped(rec.Resource, m.Version, m.CreationTime, m.ModificationTime)
	*secretOf(rec.Resource) = nil
	return true
}

// reveal opens what hide has sealed. No error has anything of the secret in it.
func (k *Keys) reveal(rec *record) error {
	secret := secretOf(rec.Resource)
	switch {
	case secret == nil && rec.Sealed != nil:
		return errors.New("it has something sealed, and is no secret")
	case secret == nil:
		return nil
	case rec.Sealed != nil && len(*secret) > 0:
		return errors.New("it is there sealed and in clear")
	}
	if k != nil && !k.current(rec) {
		k.stale.Add(1)
	}
	if rec.Sealed == nil {
		return nil
	}
	id, err := sealedWith(rec.Sealed)
	if err != nil {
		return err
	}
	if k == nil {
		return fmt.Errorf("it is sealed and %w: the key %s is needed, and there is no key file; "+
			"set store.encryption.keyFile (KUMA_STORE_ENCRYPTION_KEY_FILE)", ErrSealed, id)
	}
	key := k.find(id)
	if key == nil {
		return fmt.Errorf("it is sealed and %w: the key %s is needed, and is not in %s; add the line that had it", ErrSealed, id, k.file)
	}
	opened, err := key.aead.Open(nil, nil, rec.Sealed[sealedHeader:], additional(rec.Resource.Metadata().Key()))
	if err != nil {
		return fmt.Errorf("it is sealed with the key %s, which does not open it: it was changed, or is the record of another resource", id)
	}
	*secret = opened
	return nil
}

// current reports whether a record is as hide would make it now, but for the nonce.
func (k *Keys) current(rec *record) bool {
	if rec.Sealed == nil {
		secret := secretOf(rec.Resource)
		return secret == nil || len(*secret) == 0
	}
	id, err := sealedWith(rec.Sealed)
	return err == nil && id == k.list[0].id
}

// reseal is the record of type t sealed with the first key, and whether that is another than it was.
func (k *Keys) reseal(t policy.Type, data []byte) (again []byte, changed bool, err error) {
	rec, err := readRecord(t, data)
	if err != nil {
		return nil, false, err
	}
	current := k.current(&rec)
	if err := k.reveal(&rec); err != nil || current {
		return data, false, err
	}
	again, _, err = seal(rec.Resource, k)
	return again, true, err
}

// sealedWith is the id of the key that an envelope was sealed with.
func sealedWith(envelope []byte) (keyID, error) {
	switch {
	case len(envelope) < sealedHeader:
		return keyID{}, errors.New("what is sealed in it is cut off")
	case envelope[0] != sealedFormat:
		return keyID{}, fmt.Errorf("it is sealed in format %d, which this version of kuma-cp does not know", envelope[0])
	}
	return keyID(envelope[1:sealedHeader]), nil
}

// additional is what is authenticated beside the secret of the resource with the key. No name has a NUL in it.
func additional(key policy.Key) []byte {
	return append([]byte{sealedFormat}, string(key.Type)+"\x00"+key.Mesh+"\x00"+key.Name...)
}
