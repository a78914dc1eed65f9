package remote_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/remote"
	"github.com/c73062ad/oras/server"
)

func ExampleOpen() {
	registry := httptest.NewServer(server.New(memory.NewRegistry(), nil)) // or one that is there
	defer registry.Close()
	host := strings.TrimPrefix(registry.URL, "http://")

	ctx := context.Background()
	repo, err := remote.Open(host+"/team/hello", &remote.Options{PlainHTTP: true})
	if err != nil {
		log.Fatal(err)
	}
	desc, err := oras.PushBytes(ctx, repo, oras.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"manifests":[]}`))
	if err != nil {
		log.Fatal(err)
	}
	if err := repo.Tag(ctx, desc, "v1"); err != nil {
		log.Fatal(err)
	}
	desc, err = repo.Resolve(ctx, "v1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(desc.MediaType, desc.Size)
	// Output: application/vnd.oci.image.index.v1+json 34
}
