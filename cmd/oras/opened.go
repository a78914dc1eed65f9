package main

import (
	"context"
	"errors"
	"sync"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/layout"
)

// An opened is what a command has open until it ends.
type opened struct {
	mu     sync.Mutex
	stores []*layout.Store
}

type openedKey struct{}

// withOpened returns the context of a command, and what closes all that was opened
// in it.
func withOpened(ctx context.Context) (context.Context, func() error) {
	o := &opened{}
	return context.WithValue(ctx, openedKey{}, o), func() (err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, s := range o.stores {
			err = errors.Join(err, s.Close())
		}
		return err
	}
}

// openLayout opens a layout with open, one of package layout's functions, until the
// command that ctx belongs to has ended, whatever its outcome.
func openLayout(ctx context.Context, path string, open func(string) (*layout.Store, error)) (*layout.Store, error) {
	s, err := open(path)
	if err != nil {
		return nil, err
	}
	if o, ok := ctx.Value(openedKey{}).(*opened); ok {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.stores = append(o.stores, s)
	}
	return s, nil
}

// createLayout is openLayout for writing: the layout comes to be if need be.
func createLayout(ctx context.Context, path string) (*layout.Store, error) {
	s, err := openLayout(ctx, path, layout.Open)
	if errors.Is(err, oras.ErrInvalid) {
		return nil, withHint(err, "What is there is damaged: name another directory, or take the layout from another copy")
	}
	if err != nil {
		return nil, unwrittenHint(unwrittenLayout(path, err), writesLayout)
	}
	return s, nil
}
