package bucket_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/c73062ad/oras"
)

// plain is a bucket in RAM that can do no more than a bucket must.
type plain struct {
	mu      sync.Mutex
	objects map[string][]byte
}

func (p *plain) get(key string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	data, ok := p.objects[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, oras.ErrNotFound)
	}
	return data, nil
}

func (p *plain) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	data, err := p.get(key)
	return io.NopCloser(bytes.NewReader(data)), err
}

func (p *plain) Size(ctx context.Context, key string) (int64, error) {
	data, err := p.get(key)
	return int64(len(data)), err
}

func (p *plain) Put(ctx context.Context, key string, content io.Reader, size int64) error {
	data, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	if int64(len(data)) != size {
		return fmt.Errorf("%s: %w: %d bytes, not %d", key, oras.ErrInvalid, len(data), size)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.objects == nil {
		p.objects = map[string][]byte{}
	}
	p.objects[key] = data
	return nil
}

func (p *plain) Delete(ctx context.Context, key string) error {
	if _, err := p.get(key); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.objects, key)
	return nil
}

func (p *plain) List(ctx context.Context, prefix, last string, fn func(keys []string) error) error {
	p.mu.Lock()
	keys := slices.Sorted(maps.Keys(p.objects))
	p.mu.Unlock()
	keys = slices.DeleteFunc(keys, func(key string) bool { return key <= last || !strings.HasPrefix(key, prefix) })
	for page := range slices.Chunk(keys, 7) {
		if err := fn(page); err != nil {
			return err
		}
	}
	return nil
}
