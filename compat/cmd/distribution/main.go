// Command distribution serves the CNCF distribution registry, a peer that tests and
// benchmarks run beside ours: on a free loopback port, with data in a directory.
// One line on standard output says where.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sirupsen/logrus"
)

func main() {
	data := flag.String("data", "", "directory that holds everything")
	htpasswd := flag.String("htpasswd", "", "file of users; everybody without it")
	cert := flag.String("tls-cert", "", "file of the certificate; plain HTTP without it")
	key := flag.String("tls-key", "", "file of its key")
	flag.Parse()

	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem":  {"rootdirectory": *data},
			"delete":      {"enabled": true},
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
	}
	config.HTTP.Secret = "tests"
	config.Catalog.MaxEntries = 1000
	if *htpasswd != "" {
		config.Auth = configuration.Auth{"htpasswd": {"realm": "tests", "path": *htpasswd}}
	}
	logrus.SetLevel(logrus.PanicLevel)
	app := handlers.NewApp(context.Background(), config)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	// That connections break is what tests do, and nothing to tell.
	server := &http.Server{Handler: app, ErrorLog: log.New(io.Discard, "", 0)}
	if *cert != "" {
		fmt.Printf("Serving https://%s from %s\n", listener.Addr(), *data)
		log.Fatal(server.ServeTLS(listener, *cert, *key))
	}
	fmt.Printf("Serving http://%s from %s\n", listener.Addr(), *data)
	log.Fatal(server.Serve(listener))
}
