// Command ggcr serves go-containerregistry's registry, a peer that benchmarks run
// beside ours: on a free loopback port, with blobs in a directory and all else in
// memory. One line on standard output says where.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	data := flag.String("data", "", "directory that holds the blobs")
	flag.Parse()
	if err := os.MkdirAll(*data, 0o755); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Serving http://%s from %s\n", listener.Addr(), *data)
	log.Fatal(http.Serve(listener, registry.New(
		registry.Logger(log.New(io.Discard, "", 0)),
		registry.WithBlobHandler(registry.NewDiskBlobHandler(*data)),
		registry.WithReferrersSupport(true),
	)))
}
