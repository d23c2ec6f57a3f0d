package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"koguma/policy"
)

// backupFormat is how a backup begins to say what it is.
const backupFormat = "koguma-backup/1"

// versionLeap is how far beyond all that is known the versions of a store go on after a restore. More writes than that will
// not have been lost.
const versionLeap = 1 << 20

// ErrNotEmpty says that there is something in the store that a backup was to be restored into.
var ErrNotEmpty = errors.New("the store is not empty")

// Backup is all that a store held at one moment.
type Backup struct {
	Time      time.Time
	Version   uint64            // the newest there was
	Resources []policy.Resource // sorted by key
}

// A backup is written as lines of JSON: the header, a line for each resource, and the trailer.
type (
	backupHeader struct {
		Format    string    `json:"format"`
		Time      time.Time `json:"time"`
		Version   uint64    `json:"version"`
		Resources int       `json:"resources"`
	}
	backupLine struct {
		Type   policy.Type     `json:"type"`
		Record json.RawMessage `json:"record"`
	}
	backupTrailer struct {
		SHA256 string `json:"sha256"` // of all before the trailer, in hex
	}
)

// NewBackup is what s holds now, but for who works on it: a restore neither ends the lease of a control plane nor brings one back.
func NewBackup(ctx context.Context, s Store) (*Backup, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.Watch(ctx)
	if err != nil {
		return nil, err
	}
	events, err := w.Next(ctx)
	if err != nil {
		return nil, err
	}
	b := &Backup{Time: time.Now().UTC().Truncate(time.Second), Version: w.Version()}
	for _, e := range events {
		if e.Key.Type != policy.TypeControlPlane {
			b.Resources = append(b.Resources, e.Resource)
		}
	}
	return b, nil
}

// Marshal is the backup as it is kept, with secrets sealed by keys. Without keys they are in it in clear.
func (b *Backup) Marshal(keys *Keys) ([]byte, error) {
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	lines.SetEscapeHTML(false)
	err := lines.Encode(backupHeader{backupFormat, b.Time, b.Version, len(b.Resources)})
	for _, r := range b.Resources {
		var record []byte
		if err == nil {
			record, _, err = seal(r, keys)
		}
		if err == nil {
			err = lines.Encode(backupLine{r.Metadata().Type, record})
		}
	}
	if err == nil {
		sum := sha256.Sum256(out.Bytes())
		err = lines.Encode(backupTrailer{hex.EncodeToString(sum[:])})
	}
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return out.Bytes(), nil
}

// ReadBackup reads what Marshal has written, and opens it with keys. It is read wholly or not at all. The error is an ErrSealed
// if something is sealed that keys do not open.
func ReadBackup(data []byte, keys *Keys) (*Backup, error) {
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	var head backupHeader
	if err := policy.Decode(first, &head); err != nil || head.Format == "" {
		return nil, errors.New("it is no backup")
	}
	if head.Format != backupFormat {
		return nil, fmt.Errorf("it is a backup in the format %q, and this version of kuma-cp reads %q", head.Format, backupFormat)
	}
	lines := bytes.Split(bytes.TrimSuffix(rest, []byte("\n")), []byte("\n"))
	last := lines[len(lines)-1]
	if err := checkSum(data, last); err != nil {
		return nil, err
	}
	lines = lines[:len(lines)-1]
	switch {
	case len(lines) != head.Resources:
		return nil, fmt.Errorf("it holds %d resources, and says that there are %d", len(lines), head.Resources)
	case head.Version > math.MaxInt64/2:
		return nil, fmt.Errorf("version %d is none that a store comes to", head.Version)
	}
	b := &Backup{Time: head.Time, Version: head.Version}
	for i, line := range lines {
		if err := b.read(line, keys); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
	}
	return b, nil
}

// checkSum compares a backup with its last line, which is the trailer.
func checkSum(data, last []byte) error {
	var trailer backupTrailer
	if err := policy.Decode(last, &trailer); err != nil || !bytes.HasSuffix(data, []byte("}\n")) {
		return errors.New("it is cut off: its last line has no checksum")
	}
	sum := sha256.Sum256(data[:len(data)-len(last)-1])
	if trailer.SHA256 != hex.EncodeToString(sum[:]) {
		return errors.New("it is damaged: it does not have the checksum that its last line says")
	}
	return nil
}

// read adds the resource of a line.
func (b *Backup) read(data []byte, keys *Keys) error {
	var line backupLine
	if err := decode(data, &line); err != nil {
		return err
	}
	rec, err := readRecord(line.Type, line.Record)
	if err != nil {
		return err
	}
	key := rec.Resource.Metadata().Key()
	if err := keys.reveal(&rec); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	n := len(b.Resources)
	switch {
	case rec.Version > b.Version:
		return fmt.Errorf("%s: version %d is newer than the store, which was at %d", key, rec.Version, b.Version)
	case n > 0 && b.Resources[n-1].Metadata().Key().Compare(key) >= 0:
		return fmt.Errorf("%s: the resource is out of order", key)
	}
	b.Resources = append(b.Resources, rec.Resource)
	return checkKey(key, rec.Resource)
}

// Restore makes s hold what is in the backup and nothing else, in one Write, and returns what it held before. It is an ErrNotEmpty
// if that is something, unless it is to be replaced.
//
// Each resource gets a version that is greater than any which s, or the store that the backup was made of, has given out as far as
// is known, so that no version comes twice. It keeps its times: an agent takes no plaintext from a Mesh that is older than one
// that it has seen, and is to tell that this one is.
func (b *Backup) Restore(ctx context.Context, s Store, replace bool) (before *Backup, err error) {
	before, err = NewBackup(ctx, s)
	if err != nil {
		return nil, err
	}
	if len(before.Resources) > 0 && !replace {
		return nil, fmt.Errorf("%w: it holds %d resources", ErrNotEmpty, len(before.Resources))
	}
	after := max(b.Version, before.Version) + versionLeap
	there := map[policy.Key]int64{} // what has to go, or to be replaced
	for _, r := range before.Resources {
		there[r.Metadata().Key()] = int64(r.Metadata().Version)
	}
	var ops []Op
	for _, r := range b.Resources {
		key := r.Metadata().Key()
		ops = append(ops, Op{Put: r, Expect: there[key], restore: after}) // 0, where nothing is there, is Absent
		delete(there, key)
	}
	for key, version := range there {
		ops = append(ops, Op{Delete: key, Expect: version, restore: after})
	}
	return before, s.Write(ctx, ops...)
}
