package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"koguma/policy"
)

// core is what every store here is: all resources in memory, served from there. A store that lasts gives it a keep,
// which is called with the changes of each commit before anybody can see them; one that others write to as well, a
// commit of its own.
type core struct {
	commit func(writes []*write)                        // does the writes, and settles them; called with the turn
	keep   func(version uint64, changes []change) error // nil: nothing lasts
	keys   *Keys                                        // seal what is kept

	// turn holds one value while somebody commits. Only that one changes what mu guards, but for watches.
	turn chan struct{}

	queueMu sync.Mutex
	queue   []*write // in order of arrival

	mu        sync.RWMutex
	resources map[policy.Type][]policy.Resource // sorted by key
	version   uint64                            // the newest there is, or was
	watches   map[*Watch]struct{}
	closed    bool
}

// change is what a commit does to one resource.
type change struct {
	key      policy.Key
	version  uint64
	resource policy.Resource // nil: deleted
	record   []byte          // the resource as it is kept
}

// write is one call of Write that waits for its commit. Who commits it sets err and closes done.
type write struct {
	ops  []Op
	err  error
	done chan struct{}
}

func newCore() *core {
	c := &core{
		turn:      make(chan struct{}, 1),
		resources: map[policy.Type][]policy.Resource{},
		watches:   map[*Watch]struct{}{},
	}
	c.commit = c.commitHere
	return c
}

// Get implements [Store].
func (c *core) Get(_ context.Context, key policy.Key) (policy.Resource, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil, ErrClosed
	}
	r := c.find(key)
	if r == nil {
		return nil, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	return r, nil
}

// List implements [Store].
func (c *core) List(_ context.Context, t policy.Type, mesh string) ([]policy.Resource, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil, ErrClosed
	}
	all := c.resources[t]
	if mesh == "" {
		return slices.Clone(all), nil
	}
	byMesh := func(r policy.Resource, mesh string) int { return strings.Compare(r.Metadata().Mesh, mesh) }
	first, _ := slices.BinarySearchFunc(all, mesh, byMesh)
	n, _ := slices.BinarySearchFunc(all[first:], mesh+"\x00", byMesh) // the least string that is greater
	return slices.Clone(all[first : first+n]), nil
}

// Watch implements [Store].
func (c *core) Watch(ctx context.Context) (*Watch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	w := newWatch()
	w.newest = c.version
	for _, all := range c.resources {
		for _, r := range all {
			w.pending[r.Metadata().Key()] = r
		}
	}
	c.watches[w] = struct{}{}
	context.AfterFunc(ctx, func() {
		w.end(ctx.Err())
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watches, w)
	})
	return w, nil
}

// Write implements [Store]. Whoever finds nobody committing commits everything that waits by then, so the writes that
// arrive during one commit are together in the next, and none waits for others to come.
func (c *core) Write(ctx context.Context, ops ...Op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &write{ops: ops, done: make(chan struct{})}
	c.queueMu.Lock()
	c.queue = append(c.queue, w)
	c.queueMu.Unlock()

	select {
	case <-w.done:
	case c.turn <- struct{}{}:
		c.queueMu.Lock()
		writes := c.queue
		c.queue = nil
		c.queueMu.Unlock()
		c.commit(writes)
		<-c.turn
		<-w.done // it was among these writes, or those of an earlier turn
	}
	return w.err
}

// Close implements [Store].
func (c *core) Close() error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for w := range c.watches {
		w.end(ErrClosed)
	}
	c.watches = nil
	return nil
}

// Fault implements [Store].
func (c *core) Fault() error { return nil }

// commitHere does the writes, one after the other, and makes all their changes at once. It has the turn.
func (c *core) commitHere(writes []*write) {
	settle(writes, c.apply(c.judge(writes)))
}

// judge does the writes one after the other, each on top of those before it, and is what they come to. Nothing is
// changed yet. It has the turn.
func (c *core) judge(writes []*write) (version uint64, changes []change) {
	b := &batch{core: c, now: time.Now().UTC().Truncate(time.Millisecond), version: c.version, changes: map[policy.Key]change{}}
	for _, w := range writes {
		w.err = b.add(w.ops)
	}
	return b.version, slices.SortedFunc(maps.Values(b.changes), func(x, y change) int { return x.key.Compare(y.key) })
}

// settle ends the writes: as they were judged, or all with err.
func settle(writes []*write, err error) {
	for _, w := range writes {
		if err != nil {
			w.err = err // whatever it was before: it may have come from a change that did not happen
		}
		close(w.done)
	}
}

// apply makes changes last, and then visible.
func (c *core) apply(version uint64, changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	if c.keep != nil {
		if err := c.keep(version, changes); err != nil {
			return err
		}
	}
	c.show(version, changes)
	return nil
}

// show makes changes visible to readers and watches, in one moment.
func (c *core) show(version uint64, changes []change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version = version
	for _, ch := range changes {
		c.set(ch.key, ch.resource)
	}
	for w := range c.watches {
		w.push(changes, version)
	}
}

// find is the resource with the key, or nil. It needs mu, or the turn.
func (c *core) find(key policy.Key) policy.Resource {
	all := c.resources[key.Type]
	if i, ok := slices.BinarySearchFunc(all, key, compareKey); ok {
		return all[i]
	}
	return nil
}

// set puts r in the place of what has the key; nil removes it. It needs mu.
func (c *core) set(key policy.Key, r policy.Resource) {
	all := c.resources[key.Type]
	i, ok := slices.BinarySearchFunc(all, key, compareKey)
	switch {
	case ok && r != nil:
		all[i] = r
	case ok:
		c.resources[key.Type] = slices.Delete(all, i, i+1)
	case r != nil:
		c.resources[key.Type] = slices.Insert(all, i, r)
	}
}

func compareKey(r policy.Resource, key policy.Key) int { return r.Metadata().Key().Compare(key) }

// batch is what the writes of one commit come to.
type batch struct {
	core    *core
	now     time.Time
	version uint64 // the newest used
	changes map[policy.Key]change
}

// add does ops on top of what is in the batch, all or nothing.
func (b *batch) add(ops []Op) error {
	if b.core.closed {
		return ErrClosed
	}
	staged := make(map[policy.Key]change, len(ops))
	for _, op := range ops {
		key, err := op.key()
		if err != nil {
			return err
		}
		old := b.find(key, staged)
		if err := op.check(key, old); err != nil {
			return err
		}
		b.version = max(b.version, op.restore)
		switch {
		case op.Put == nil:
			if old != nil {
				b.version++
				staged[key] = change{key: key, version: b.version}
			}
		case old == nil || op.restore > 0 || !Same(old, op.Put):
			ch, err := b.put(key, old, op)
			if err != nil {
				return err
			}
			staged[key] = ch
		}
	}
	maps.Copy(b.changes, staged)
	return nil
}

// find is what has the key once staged, and before it the batch, is done.
func (b *batch) find(key policy.Key, staged map[policy.Key]change) policy.Resource {
	if ch, ok := staged[key]; ok {
		return ch.resource
	}
	if ch, ok := b.changes[key]; ok {
		return ch.resource
	}
	return b.core.find(key)
}

// put is the change that does op, a Put, where old is.
func (b *batch) put(key policy.Key, old policy.Resource, op Op) (change, error) {
	created, modified := b.now, b.now
	switch {
	case op.restore > 0:
		created, modified = op.Put.Metadata().CreationTime, op.Put.Metadata().ModificationTime
	case old != nil:
		created = old.Metadata().CreationTime
	}
	b.version++
	data, kept, err := seal(stamped(op.Put, b.version, created, modified), b.core.keys)
	if err != nil {
		return change{}, err
	}
	return change{key: key, version: b.version, resource: kept, record: data}, nil
}
