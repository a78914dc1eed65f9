package bucket

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/c73062ad/oras"
)

// hotBlobs keeps small blobs that were read lately in memory, so that reading one again
// costs one look at its file instead of the five calls of opening and reading it. What
// is kept was verified and does not change; but the blob may be deleted or damaged: each
// time its file must be there, of the same size and time.
type hotBlobs struct {
	mu    sync.RWMutex
	blobs map[string]hotBlob // by key
	size  int                // of them together, with hotCost for each
}

type hotBlob struct {
	Status
	data []byte
}

const (
	maxHot     = 8 << 20  // bytes of all
	maxHotBlob = 16 << 10 // of one
	hotCost    = 256      // of one beside its data
)

// fetch returns the content of the blob d, which is the object key in b.
func (h *hotBlobs) fetch(ctx context.Context, b Bucket, key string, d oras.Digest) (io.ReadCloser, error) {
	a, ok := b.(ager)
	if !ok {
		return b.Get(ctx, key)
	}
	now, err := a.Stat(ctx, key)
	if err != nil || now.Size > maxHotBlob {
		return b.Get(ctx, key)
	}
	h.mu.RLock()
	blob, ok := h.blobs[key]
	h.mu.RUnlock()
	if ok && blob.Size == now.Size && blob.Touched.Equal(now.Touched) {
		return hotReader{bytes.NewReader(blob.data)}, nil
	}
	content, err := b.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	data, err := oras.ReadAll(content, oras.Descriptor{Digest: d.OCI(), Size: now.Size})
	if err != nil { // it is damaged, which is for the caller to find, or was written anew meanwhile
		return b.Get(ctx, key)
	}
	h.keep(key, hotBlob{now, data})
	return hotReader{bytes.NewReader(data)}, nil
}

// keep keeps blob, and forgets others that there is no room for.
func (h *hotBlobs) keep(key string, blob hotBlob) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget(key)
	for other := range h.blobs {
		if h.size+len(blob.data)+hotCost <= maxHot {
			break
		}
		h.forget(other)
	}
	if h.blobs == nil {
		h.blobs = map[string]hotBlob{}
	}
	h.blobs[key] = blob
	h.size += len(blob.data) + hotCost
}

func (h *hotBlobs) forget(key string) {
	if blob, ok := h.blobs[key]; ok {
		h.size -= len(blob.data) + hotCost
		delete(h.blobs, key)
	}
}

// A hotReader reads a blob that is in memory.
type hotReader struct{ *bytes.Reader }

func (hotReader) Close() error { return nil }
