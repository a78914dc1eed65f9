// Command orasgo pushes, pulls and copies artifacts with oras-go as the oras command
// line v1.3 drives it: a file store, Copy with its default concurrency, and the
// retrying client that is oras-go's default. It is a process of its own so that its
// start and its memory are measured as those of the program beside it are.
//
//	orasgo push REFERENCE FILE...
//	orasgo pull REFERENCE
//	orasgo cp   REFERENCE REFERENCE
//
// Files are named and written below the working directory. Registries have no TLS.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/file"
	"oras.land/oras-go/v2/registry/remote"
)

// The defaults of oras v1.3's --concurrency.
const (
	pushConcurrency = 5
	pullConcurrency = 3
	copyConcurrency = 3
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: orasgo push|pull|cp REFERENCE...")
	}
	ctx, args := context.Background(), os.Args[2:]
	var err error
	switch verb := os.Args[1]; {
	case verb == "push":
		err = push(ctx, args[0], args[1:])
	case verb == "pull" && len(args) == 1:
		err = pull(ctx, args[0])
	case verb == "cp" && len(args) == 2:
		err = cp(ctx, args[0], args[1])
	default:
		err = fmt.Errorf("%s: unknown, or with too many arguments", verb)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func repository(name string) (*remote.Repository, error) {
	repo, err := remote.NewRepository(name)
	if err != nil {
		return nil, err
	}
	repo.PlainHTTP = true
	return repo, nil
}

func push(ctx context.Context, name string, paths []string) error {
	files, err := file.New("")
	if err != nil {
		return err
	}
	defer files.Close()
	var layers []ocispec.Descriptor
	for _, path := range paths {
		layer, err := files.Add(ctx, path, "", "")
		if err != nil {
			return err
		}
		layers = append(layers, layer)
	}
	root, err := oras.PackManifest(ctx, files, oras.PackManifestVersion1_1, "application/vnd.unknown.artifact.v1", oras.PackManifestOptions{Layers: layers})
	if err != nil {
		return err
	}
	tag := root.Digest.String()
	if err := files.Tag(ctx, root, tag); err != nil {
		return err
	}
	dst, err := repository(name)
	if err != nil {
		return err
	}
	opts := oras.DefaultCopyOptions
	opts.Concurrency = pushConcurrency
	_, err = oras.Copy(ctx, files, tag, dst, dst.Reference.Reference, opts)
	return err
}

func pull(ctx context.Context, name string) error {
	src, err := repository(name)
	if err != nil {
		return err
	}
	files, err := file.New(".")
	if err != nil {
		return err
	}
	defer files.Close()
	opts := oras.DefaultCopyOptions
	opts.Concurrency = pullConcurrency
	opts.FindSuccessors = titled
	_, err = oras.Copy(ctx, src, src.Reference.Reference, files, src.Reference.Reference, opts)
	return err
}

// titled returns what of a manifest becomes files.
func titled(ctx context.Context, f content.Fetcher, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	all, err := content.Successors(ctx, f, desc)
	var some []ocispec.Descriptor
	for _, d := range all {
		if d.Annotations[ocispec.AnnotationTitle] != "" {
			some = append(some, d)
		}
	}
	return some, err
}

func cp(ctx context.Context, from, to string) error {
	src, err := repository(from)
	if err != nil {
		return err
	}
	dst, err := repository(to)
	if err != nil {
		return err
	}
	opts := oras.DefaultCopyOptions
	opts.Concurrency = copyConcurrency
	_, err = oras.Copy(ctx, src, src.Reference.Reference, dst, dst.Reference.Reference, opts)
	return err
}
