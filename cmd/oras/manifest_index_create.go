package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

type indexCreateCommand struct {
	indexCommand
	annotations []string
}

func newManifestIndexCreateCommand(con console) *cobra.Command {
	var c indexCreateCommand
	cmd := &cobra.Command{
		Use:     "create [flags] <target>[:<tag[,<tag>][...]] <sources>[{<tag>|<digest>}...]",
		Aliases: []string{"pack"},
		Short:   "Create and push an index of manifests in a repository or an OCI image layout",
		Long: `Create and push an index of manifests in a repository or an OCI image layout. The manifests must be there. Each is listed with the platform that its config says.

Example - Create an index of the manifests tagged "linux-amd64" and "linux-arm64", without a tag:
  oras manifest index create localhost:5000/hello linux-amd64 linux-arm64

Example - Create an index and tag it "v1" and "latest":
  oras manifest index create localhost:5000/hello:v1,latest linux-amd64 linux-arm64

Example - Name a manifest by its digest:
  oras manifest index create localhost:5000/hello:v1 linux-amd64 sha256:99e4703fbf30916f549cd6bfa9cdbab614b5392fbe64fdee971359a77073cdf9

Example - Create an annotated index with an artifact type:
  oras manifest index create --artifact-type application/vnd.me.set --annotation key=value localhost:5000/hello:v1 linux-amd64

Example - Print the index or write it to a file, and push nothing:
  oras manifest index create --output - --pretty localhost:5000/hello linux-amd64 linux-arm64
  oras manifest index create --output index.json localhost:5000/hello linux-amd64 linux-arm64

Example - Create an index in the OCI image layout directory "layout-dir":
  oras manifest index create --oci-layout layout-dir:v1 linux-amd64 linux-arm64
`,
		Args: atLeast(1, "the destination index to create"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0], args[1:]) },
	}
	c.register(cmd)
	cmd.Flags().StringArrayVarP(&c.annotations, "annotation", "a", nil, "annotations of the index")
	return cmd
}

func (c *indexCreateCommand) run(cmd *cobra.Command, con console, raw string, sources []string) error {
	ctx := cmd.Context()
	annotations, err := parsePairs(c.annotations)
	if err != nil {
		return err
	}
	err = firstError(c.checkType, func() error { return c.parse(raw) }, func() error { return c.checkTags(c.tags) })
	if err != nil {
		return err
	}
	if !c.digest.IsZero() {
		return hint(fmt.Errorf("%q: a digest cannot be chosen for what is created", raw),
			"Name tags or nothing behind %q: the digest is printed in the end", c.name)
	}
	if err := c.open(ctx, con, len(sources) == 0); err != nil {
		return err
	}
	opts := &oras.PackIndexOptions{ArtifactType: c.artifactType, Annotations: annotations}
	for _, source := range sources {
		entry, err := c.entry(ctx, source)
		if err != nil {
			return err
		}
		opts.Manifests = append(opts.Manifests, entry)
	}
	return c.write(ctx, con, opts, c.tags[min(1, len(c.tags)):], func(desc oras.Descriptor) {
		c.tell("Packed", shortDigest(desc), desc.MediaType)
	})
}
