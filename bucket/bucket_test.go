package bucket_test

import (
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
	"github.com/c73062ad/oras/storetest"
)

func openDir(tb testing.TB) *bucket.Dir {
	tb.Helper()
	d, err := bucket.OpenDir(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { d.Close() })
	return d
}

func repository(tb testing.TB, r oras.Registry, name string) *bucket.Store {
	tb.Helper()
	s, err := r.Repository(tb.Context(), name)
	if err != nil {
		tb.Fatal(err)
	}
	return s.(*bucket.Store)
}

func TestDirStore(t *testing.T) {
	storetest.Test(t, func(t *testing.T) oras.Store { return repository(t, bucket.New(openDir(t)), "team/app") })
}

// The five methods of a Bucket are enough for all but uploads in pieces.
func TestPlainStore(t *testing.T) {
	storetest.Test(t, func(t *testing.T) oras.Store { return repository(t, bucket.New(&plain{}), "team/app") })
}
