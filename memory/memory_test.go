package memory_test

import (
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/storetest"
)

func TestStore(t *testing.T) {
	storetest.Test(t, func(t *testing.T) oras.Store { return memory.New() })
}

func TestRegistryStore(t *testing.T) {
	storetest.Test(t, func(t *testing.T) oras.Store {
		s, err := memory.NewRegistry().Repository(t.Context(), "team/hello")
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
