package bucket

import (
	"bytes"
	"context"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/c73062ad/oras"
)

const (
	hashInterval = 1 << 30 // bytes that are rather hashed again after a restart than kept the hash of
	maxHash      = 4 << 10 // size in bytes of the largest state of a hash that is read
	maxHashes    = 1000    // uploads whose hash is kept in memory
)

// A hashState is the hash of the first n bytes of an upload. That of the first saved
// bytes can be had from the bucket.
type hashState struct {
	hash     hash.Hash
	n, saved int64
}

// hashes are the states of uploads that nobody has open, by key. One that is not
// there can be had from the bucket or by hashing again.
type hashes struct {
	interval int64 // hashInterval, but for tests

	mu     sync.Mutex
	states map[string]hashState
}

// take returns the state of key, which is the caller's then.
func (h *hashes) take(key string) (hashState, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	state, ok := h.states[key]
	delete(h.states, key)
	return state, ok
}

func (h *hashes) put(key string, state hashState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.states == nil {
		h.states = map[string]hashState{}
	}
	for other := range h.states {
		if len(h.states) < maxHashes {
			break
		}
		delete(h.states, other)
	}
	h.states[key] = state
}

// catchUp returns the state of all that is in f, of which u knows the size.
func (u *upload) catchUp(ctx context.Context, f File) (hashState, error) {
	state, ok := u.store.registry.hashes.take(u.store.uploadKey(u.id))
	if !ok || state.n > u.size {
		var err error
		if state, err = u.loadHash(ctx); err != nil {
			return hashState{}, err
		}
	}
	if err := u.readInto(ctx, state.hash, f, state.n); err != nil {
		return hashState{}, err
	}
	state.n = u.size
	return state, nil
}

// readInto writes what is in f from offset on to w.
func (u *upload) readInto(ctx context.Context, w io.Writer, f File, offset int64) error {
	n, readErr, writeErr := pump(ctx, w, io.NewSectionReader(f, offset, u.size-offset))
	if err := errors.Join(readErr, writeErr); err != nil {
		return u.failed(err)
	}
	if n != u.size-offset {
		return u.failed(io.ErrUnexpectedEOF)
	}
	return nil
}

// loadHash returns what was saved, if that is of no more bytes than there are: a
// state that is younger than the bytes that survived is of no use, nor is one that
// another version of the hash saved. Else it returns the state of no bytes.
func (u *upload) loadHash(ctx context.Context) (hashState, error) {
	none := hashState{hash: u.algorithm.New()}
	if u.size < u.store.registry.hashes.interval {
		return none, nil
	}
	content, err := u.store.bucket.Get(ctx, u.store.hashKey(u.id))
	if errors.Is(err, oras.ErrNotFound) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	defer content.Close()
	data, err := io.ReadAll(io.LimitReader(content, maxHash))
	if err != nil {
		return none, fmt.Errorf("%s: %w", u.store.hashKey(u.id), err)
	}
	if len(data) < 8 {
		return none, nil
	}
	state := hashState{hash: u.algorithm.New(), n: int64(binary.BigEndian.Uint64(data))}
	state.saved = state.n
	if state.n < 0 || state.n > u.size || state.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(data[8:]) != nil {
		return none, nil
	}
	return state, nil
}

// keepHash keeps state, which is of all that is in f: in memory, and from time to
// time in the bucket, for which what it is of must be durable.
func (u *upload) keepHash(ctx context.Context, f File, state hashState) error {
	h := &u.store.registry.hashes
	if state.n-state.saved >= h.interval {
		if err := f.Sync(); err != nil {
			return u.lost(ctx, err)
		}
		if err := u.saveHash(ctx, state); err != nil {
			return err
		}
		state.saved = state.n
	}
	h.put(u.store.uploadKey(u.id), state)
	return nil
}

func (u *upload) saveHash(ctx context.Context, state hashState) error {
	data, err := state.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return fmt.Errorf("%s: %w", u.store.hashKey(u.id), err)
	}
	data = append(binary.BigEndian.AppendUint64(nil, uint64(state.n)), data...)
	return u.store.bucket.Put(ctx, u.store.hashKey(u.id), bytes.NewReader(data), int64(len(data)))
}

// dropHash removes what keepHash kept.
func (u *upload) dropHash(ctx context.Context) error {
	h := &u.store.registry.hashes
	h.take(u.store.uploadKey(u.id))
	if u.size < h.interval {
		return nil
	}
	return remove(ctx, u.store.bucket, u.store.hashKey(u.id))
}
