package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"koguma/policy"
)

// record is how a resource is kept: as JSON, with the version that is no part of the resource's own JSON.
type record struct {
	Version  uint64          `json:"version"`
	Resource policy.Resource `json:"resource"`
	// Sealed is what [Keys] have taken out of Resource.
	Sealed []byte `json:"sealed,omitempty"`
}

// maxKey is how long mesh and name may be together. Every store keeps to it, so that none takes what another would not.
const maxKey = 4096

// checkKey refuses a key that could not be kept, or that r, unless nil, does not belong under.
func checkKey(key policy.Key, r policy.Resource) error {
	sample := policy.New(key.Type)
	switch {
	case sample == nil:
		return fmt.Errorf("store: %s: there is no type %q", key, key.Type)
	case r != nil && reflect.TypeOf(r) != reflect.TypeOf(sample):
		return fmt.Errorf("store: %s: its type is not that of a %T", key, r)
	case key.Name == "":
		return fmt.Errorf("store: %s: a resource without a name cannot be kept", key)
	case strings.ContainsRune(key.Mesh+key.Name, 0):
		return fmt.Errorf("store: %s: a name with a NUL in it cannot be kept", key)
	case len(key.Mesh)+len(key.Name) > maxKey:
		return fmt.Errorf("store: %s: mesh and name together are longer than %d bytes", key.Type, maxKey)
	}
	return nil
}

// recordKey is a key within the resources of its type. It sorts as the keys do, and no two keys have the same: a NUL
// ends the mesh, unless 0xff follows.
func recordKey(key policy.Key) []byte {
	return []byte(strings.ReplaceAll(key.Mesh, "\x00", "\x00\xff") + "\x00" + key.Name)
}

// seal is the record of r, with what is secret in it sealed by keys, and r as the record will be read. It refuses what would be
// read back as something else, such as a string that is not UTF-8: better now than at the next start.
func seal(r policy.Resource, keys *Keys) ([]byte, policy.Resource, error) {
	key := r.Metadata().Key()
	data, err := encode(record{Version: r.Metadata().Version, Resource: r})
	if err != nil {
		return nil, nil, fmt.Errorf("store: %s cannot be kept: %w", key, err)
	}
	kept, err := unseal(key.Type, data, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("store: %s cannot be kept: %w", key, err)
	}
	rec := record{Version: kept.Metadata().Version, Resource: kept}
	again, err := encode(rec)
	if err != nil || !bytes.Equal(data, again) {
		return nil, nil, fmt.Errorf("store: %s cannot be kept: it would not be read back as it is", key)
	}
	if keys.hide(&rec) {
		data, err = encode(rec)
	}
	return data, kept, err
}

// unseal is the resource that a record of type t holds, opened with keys.
func unseal(t policy.Type, data []byte, keys *Keys) (policy.Resource, error) {
	rec, err := readRecord(t, data)
	if err != nil {
		return nil, err
	}
	if err := keys.reveal(&rec); err != nil {
		return nil, err
	}
	return rec.Resource, nil
}

// readRecord is a record of type t as it is kept.
func readRecord(t policy.Type, data []byte) (record, error) {
	rec := record{Resource: policy.New(t)}
	if rec.Resource == nil {
		return record{}, fmt.Errorf("there is no type %q", t)
	}
	if err := decode(data, &rec); err != nil {
		return record{}, err
	}
	if rec.Resource == nil || rec.Version == 0 || rec.Resource.Metadata().Type != t {
		return record{}, fmt.Errorf("it does not hold a %s with a version", t)
	}
	rec.Resource.Metadata().Version = rec.Version
	return rec, nil
}

// Records are JSON as encoding/json has it, and not as [policy.Decode] takes it: they come from nobody but us, and what
// is asked of new input tomorrow must not make unreadable what was good yesterday.

func encode(v any) ([]byte, error) { return json.Marshal(v) }

func decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // they may be of a newer version, and matter
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the end")
	}
	return nil
}
