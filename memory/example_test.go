package memory_test

import (
	"context"
	"fmt"
	"log"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

func Example() {
	ctx := context.Background()
	s := memory.New()
	index := []byte(`{"schemaVersion":2,"manifests":[]}`)
	desc, err := oras.PushBytes(ctx, s, oras.MediaTypeImageIndex, index)
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Tag(ctx, desc, "v1"); err != nil {
		log.Fatal(err)
	}
	if desc, err = s.Resolve(ctx, "v1"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(desc.MediaType, desc.Size)
	// Output: application/vnd.oci.image.index.v1+json 34
}
