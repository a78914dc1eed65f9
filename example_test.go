package oras_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/auth"
	"github.com/c73062ad/oras/bucket"
	"github.com/c73062ad/oras/file"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/remote"
	"github.com/c73062ad/oras/server"
)

// Push a file, as `oras push localhost:5000/hello:v1 artifact.txt` does.
func Example_push() {
	ctx := context.Background()
	dir := directoryWith("artifact.txt", "hello world\n")
	defer os.RemoveAll(dir)
	repo, stop := repository("hello")
	defer stop()

	files, err := file.New(dir, nil)
	check(err)
	defer files.Close()
	layer, err := files.Add(ctx, "artifact.txt", "", "text/plain")
	check(err)
	artifact, err := oras.Pack(ctx, files, &oras.PackOptions{
		ArtifactType: "application/vnd.acme.rocket.config",
		Layers:       []oras.Descriptor{layer},
	})
	check(err)
	_, err = oras.Copy(ctx, files, artifact.Digest.String(), repo, &oras.CopyOptions{Tags: []string{"v1"}})
	check(err)

	pushed, err := repo.Resolve(ctx, "v1")
	check(err)
	fmt.Println(layer.Digest)
	fmt.Println(pushed.Digest == artifact.Digest)
	// Output:
	// sha256:a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447
	// true
}

// Pull files, as `oras pull -o DIR localhost:5000/hello:v1` does.
func Example_pull() {
	ctx := context.Background()
	dir := directoryWith()
	defer os.RemoveAll(dir)
	repo, stop := repository("hello")
	defer stop()
	pushHello(ctx, repo, "v1")

	files, err := file.New(dir, nil)
	check(err)
	defer files.Close()
	_, err = oras.Copy(ctx, repo, "v1", files, nil)
	check(err)

	data, err := os.ReadFile(filepath.Join(dir, "artifact.txt"))
	check(err)
	fmt.Printf("%s", data)
	// Output: hello world
}

// Attach an SBOM to an artifact, and find it again, as `oras attach` and
// `oras discover` do.
func Example_attach() {
	ctx := context.Background()
	repo, stop := repository("hello")
	defer stop()
	pushHello(ctx, repo, "v1")

	subject, err := repo.Resolve(ctx, "v1")
	check(err)
	sbom, err := oras.PushBytes(ctx, repo, "application/spdx+json", []byte(`{"spdxVersion":"SPDX-2.3"}`))
	check(err)
	_, err = oras.Pack(ctx, repo, &oras.PackOptions{
		ArtifactType: "sbom/example",
		Subject:      &subject,
		Layers:       []oras.Descriptor{sbom},
	})
	check(err)

	err = oras.Referrers(ctx, repo, subject, "", func(referrers []oras.Descriptor) error {
		for _, r := range referrers {
			fmt.Println(r.ArtifactType)
		}
		return nil
	})
	check(err)
	// Output: sbom/example
}

// Copy an artifact with all that refers to it, as `oras cp -r` does.
func Example_copyWithReferrers() {
	ctx := context.Background()
	repo, stop := repository("hello")
	defer stop()
	subject := pushHello(ctx, repo, "v1")
	sbom, err := oras.Pack(ctx, repo, &oras.PackOptions{ArtifactType: "sbom/example", Subject: &subject})
	check(err)
	_, err = oras.Pack(ctx, repo, &oras.PackOptions{ArtifactType: "signature/example", Subject: &sbom})
	check(err)

	backup := memory.New() // or a layout, a bucket, another registry
	copied := 0
	_, err = oras.Copy(ctx, repo, "v1", backup, &oras.CopyOptions{
		Referrers: true,
		Tags:      []string{"v1"},
		Event: func(e oras.Event) {
			if e.Kind == oras.Copied && oras.IsManifest(e.Descriptor.MediaType) {
				copied++
			}
		},
	})
	check(err)
	fmt.Println(copied, "manifests")
	// Output: 3 manifests
}

// Serve a registry from your own program, as `oras serve` does.
func Example_serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	registry := &http.Server{Handler: server.New(memory.NewRegistry(), nil)}
	go registry.Serve(listener)
	defer registry.Close()

	repo, err := remote.Open(listener.Addr().String()+"/hello", &remote.Options{PlainHTTP: true})
	check(err)
	pushHello(context.Background(), repo, "v1")
	check(repo.Tags(context.Background(), "", func(tags []string) error {
		fmt.Println(tags)
		return nil
	}))
	// Output: [v1]
}

// Log in to a registry that speaks TLS with a certificate of one's own authority, as
// `oras push --ca-file ca.pem -u ann --password-stdin` does.
func Example_login() {
	ctx := context.Background()
	host, authorities, stop := secureRegistry("ann", "correct horse")
	defer stop()

	base := remote.NewTransport()
	base.TLSClientConfig = &tls.Config{RootCAs: authorities}                                // nil are those that the system knows
	login := auth.Static(host, auth.Credential{Username: "ann", Password: "correct horse"}) // or auth.OpenConfig: as docker and podman keep it
	transport := auth.NewTransport(&url.URL{Scheme: "https", Host: host}, login, &auth.Options{
		Base: &auth.Retry{Base: base}, // tries again when the network fails
	})
	repo, err := remote.Open(host+"/hello", &remote.Options{Transport: transport})
	check(err)
	pushHello(ctx, repo, "v1")

	_, err = repo.Resolve(ctx, "v1")
	check(err)
	stranger, err := remote.Open(host+"/hello", &remote.Options{Transport: base})
	check(err)
	_, err = stranger.Resolve(ctx, "v1")
	fmt.Println(errors.Is(err, oras.ErrUnauthorized))
	// Output: true
}

// Serve a registry whose data stays, in a directory, as `oras serve --data DIR` does.
func Example_serveFromDisk() {
	ctx := context.Background()
	dir := directoryWith()
	defer os.RemoveAll(dir)
	serve := func(use func(repo *remote.Repository)) {
		data, err := bucket.OpenDir(filepath.Join(dir, "data"))
		check(err)
		defer data.Close()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		check(err)
		registry := &http.Server{Handler: server.New(bucket.New(data), nil)}
		go registry.Serve(listener)
		defer registry.Close()

		repo, err := remote.Open(listener.Addr().String()+"/hello", &remote.Options{PlainHTTP: true})
		check(err)
		use(repo)
	}

	serve(func(repo *remote.Repository) { pushHello(ctx, repo, "v1") })
	serve(func(repo *remote.Repository) { // another day
		desc, err := repo.Resolve(ctx, "v1")
		check(err)
		fmt.Println(desc.MediaType)
	})
	// Output: application/vnd.oci.image.manifest.v1+json
}

// secureRegistry returns the host of a registry with TLS and one user, which runs until
// stop is called, and the authority that its certificate is from.
func secureRegistry(user, password string) (host string, authorities *x509.CertPool, stop func()) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	check(err)
	dir := directoryWith("users", user+":"+string(hash)+"\n") // as "oras serve htpasswd" prints it
	users, err := server.Htpasswd(filepath.Join(dir, "users"))
	check(err)
	registry := httptest.NewTLSServer(server.New(memory.NewRegistry(), &server.Options{Authorize: users}))
	authorities = x509.NewCertPool()
	authorities.AddCert(registry.Certificate())
	return registry.Listener.Addr().String(), authorities, func() {
		registry.Close()
		check(os.RemoveAll(dir))
	}
}

// repository returns a repository of a registry that runs until stop is called.
func repository(name string) (repo *remote.Repository, stop func()) {
	registry := httptest.NewServer(server.New(memory.NewRegistry(), nil))
	host := strings.TrimPrefix(registry.URL, "http://")
	repo, err := remote.Open(host+"/"+name, &remote.Options{PlainHTTP: true})
	check(err)
	return repo, registry.Close
}

// pushHello pushes an artifact with one file and tags it.
func pushHello(ctx context.Context, repo oras.Target, tag string) oras.Descriptor {
	layer, err := oras.PushBytes(ctx, repo, oras.MediaTypeLayer, []byte("hello world\n"))
	check(err)
	layer.Annotations = map[string]string{"org.opencontainers.image.title": "artifact.txt"}
	artifact, err := oras.Pack(ctx, repo, &oras.PackOptions{Layers: []oras.Descriptor{layer}})
	check(err)
	check(repo.Tag(ctx, artifact, tag))
	return artifact
}

// directoryWith returns a new directory with files of the given names and
// contents.
func directoryWith(files ...string) string {
	dir, err := os.MkdirTemp("", "oras")
	check(err)
	for i := 0; i < len(files); i += 2 {
		check(os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644))
	}
	return dir
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
