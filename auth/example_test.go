package auth_test

import (
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"

	"github.com/c73062ad/oras/auth"
)

// The client of a registry that logs in with what docker and podman keep, and
// tries again when the network fails.
func ExampleNewTransport() {
	config, err := auth.OpenConfig()
	if err != nil {
		log.Fatal(err)
	}
	config.Warn = func(message string) { fmt.Fprintln(os.Stderr, message) }

	registry := &url.URL{Scheme: "https", Host: "registry.example.com"}
	client := &http.Client{Transport: auth.NewTransport(registry, config, &auth.Options{Base: &auth.Retry{}})}

	resp, err := client.Get("https://registry.example.com/v2/hello/tags/list")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
}
