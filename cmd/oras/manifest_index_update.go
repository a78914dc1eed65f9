package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

type indexUpdateCommand struct {
	indexCommand
	add, merge, remove []string
	newTags            []string
}

func newManifestIndexUpdateCommand(con console) *cobra.Command {
	var c indexUpdateCommand
	cmd := &cobra.Command{
		Use:   "update <index>{:<tag>|@<digest>} [{--add|--merge|--remove} <manifest>{<tag>|<digest>}] [...]",
		Short: "Update and push an index of manifests in a repository or an OCI image layout",
		Long: `Update and push an index of manifests in a repository or an OCI image layout. What is added and merged must be there. The new index has what is kept of the old one, then what is added, then what is merged.

Example - Add the manifest tagged "linux-arm64" to the index tagged "v1", and take another out of it:
  oras manifest index update localhost:5000/hello:v1 --add linux-arm64 --remove sha256:99e4703fbf30916f549cd6bfa9cdbab614b5392fbe64fdee971359a77073cdf9

Example - Add what the index tagged "windows" lists, and give the new index further tags:
  oras manifest index update localhost:5000/hello:v1 --merge windows --tag v1.1 --tag latest

Example - Make a new index of one that is named by its digest:
  oras manifest index update localhost:5000/hello@sha256:99e4703fbf30916f549cd6bfa9cdbab614b5392fbe64fdee971359a77073cdf9 --add linux-arm64 --tag v2

Example - Change or remove the artifact type:
  oras manifest index update localhost:5000/hello:v1 --artifact-type application/vnd.me.set
  oras manifest index update localhost:5000/hello:v1 --artifact-type ""

Example - Print the new index or write it to a file, and push nothing:
  oras manifest index update localhost:5000/hello:v1 --add linux-arm64 --output - --pretty
  oras manifest index update localhost:5000/hello:v1 --add linux-arm64 --output index.json

Example - Update in the OCI image layout directory "layout-dir":
  oras manifest index update --oci-layout layout-dir:v1 --add linux-arm64
`,
		Args: exactly(1, "the target index to update"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	c.register(cmd)
	fs := cmd.Flags()
	fs.StringArrayVar(&c.add, "add", nil, "manifests to add to the index")
	fs.StringArrayVar(&c.merge, "merge", nil, "indexes whose manifests to add to the index")
	fs.StringArrayVar(&c.remove, "remove", nil, "manifests to remove from the index, must be digests")
	fs.StringArrayVar(&c.newTags, "tag", nil, "extra tags for the updated index")
	return cmd
}

// check checks arguments and flags. It reports whether there is anything to do.
func (c *indexUpdateCommand) check(cmd *cobra.Command, raw string) (bool, error) {
	changed := cmd.Flags().Changed
	if changed("tag") && changed("output") {
		return false, exclusive("tag", "output")
	}
	for _, text := range c.remove {
		if _, err := oras.ParseDigest(text); err != nil {
			return false, fmt.Errorf("remove: %s is not a digest", text)
		}
	}
	err := firstError(c.checkType, func() error { return c.parse(raw) }, func() error { return c.checkTags(c.newTags) })
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc([]string{"add", "merge", "remove", "tag", "artifact-type"}, changed) {
		return false, nil
	}
	return true, c.requireOne(cmd, raw)
}

func (c *indexUpdateCommand) run(cmd *cobra.Command, con console, raw string) error {
	ctx := cmd.Context()
	todo, err := c.check(cmd, raw)
	if err != nil {
		return err
	}
	if !todo {
		_, err := fmt.Fprintln(con.out, "Nothing to update as no change is requested")
		return err
	}
	if err := c.open(ctx, con, false); err != nil {
		return err
	}
	_, old, err := c.index(ctx, c.reference())
	if err != nil {
		return err
	}
	opts := &oras.PackIndexOptions{ArtifactType: old.ArtifactType, Subject: old.Subject, Annotations: old.Annotations}
	if cmd.Flags().Changed("artifact-type") {
		opts.ArtifactType = c.artifactType
	}
	if opts.Manifests, err = c.change(ctx, old.Manifests); err != nil {
		return err
	}
	return c.write(ctx, con, opts, c.newTags, func(desc oras.Descriptor) { c.tell("Updated", desc.Digest.String()) })
}

// change returns what the new index lists: what is kept, added, merged.
func (c *indexUpdateCommand) change(ctx context.Context, manifests []oras.Descriptor) ([]oras.Descriptor, error) {
	for _, digest := range c.remove {
		if !slices.ContainsFunc(manifests, func(m oras.Descriptor) bool { return m.Digest.String() == digest }) {
			return nil, fmt.Errorf("%s does not exist in the index %s", digest, c.reference())
		}
	}
	manifests = slices.DeleteFunc(manifests, func(m oras.Descriptor) bool { return slices.Contains(c.remove, m.Digest.String()) })
	for _, digest := range c.remove {
		c.tell("Removed", digest)
	}
	for _, reference := range c.add {
		entry, err := c.entry(ctx, reference)
		if err != nil {
			return nil, err
		}
		manifests = append(manifests, entry)
		c.tellOf("Added", entry, reference)
	}
	for _, reference := range c.merge {
		desc, m, err := c.index(ctx, reference)
		if err != nil {
			return nil, err
		}
		manifests = append(manifests, m.Manifests...)
		c.tellOf("Merged", desc, reference)
	}
	return manifests, nil
}
