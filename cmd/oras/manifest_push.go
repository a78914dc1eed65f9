package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

type manifestPushCommand struct {
	commonFlags
	target
	pretty      bool
	descriptor  bool
	mediaType   string
	concurrency int
}

func newManifestPushCommand(con console) *cobra.Command {
	var c manifestPushCommand
	cmd := &cobra.Command{
		Use:   "push [flags] <name>[:<tag>[,<tag>][...]|@<digest>] <file>",
		Short: "Push a manifest to a registry or an OCI image layout",
		Long: `Push a manifest to a registry or an OCI image layout

Example - Push the manifest in "manifest.json" under a tag, or several:
  oras manifest push localhost:5000/hello:v1 manifest.json
  oras manifest push localhost:5000/hello:v1,latest manifest.json

Example - Push a manifest that does not say its media type:
  oras manifest push --media-type application/vnd.oci.image.manifest.v1+json localhost:5000/hello:v1 manifest.json

Example - Push from standard input, and print the descriptor:
  oras manifest push --descriptor localhost:5000/hello:v1 - < manifest.json

Example - Push into the OCI image layout directory "layout-dir":
  oras manifest push --oci-layout layout-dir:v1 manifest.json
`,
		Args: exactly(2, "the destination to push to and the file to read manifest content from"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0], args[1]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.target.register(fs, "", "")
	c.registerDistributionSpec(fs, "")
	fs.BoolVar(&c.pretty, "pretty", false, "prettify JSON objects printed to stdout")
	fs.BoolVar(&c.descriptor, "descriptor", false, "output the descriptor of the manifest")
	fs.StringVar(&c.mediaType, "media-type", "", "media type of manifest")
	fs.IntVar(&c.concurrency, "concurrency", 5, "concurrency level")
	return cmd
}

func (c *manifestPushCommand) run(cmd *cobra.Command, con console, raw, path string) error {
	ctx := cmd.Context()
	if err := c.checkStdin(path); err != nil {
		return err
	}
	if err := c.parse(raw); err != nil {
		return err
	}
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	data, err := readInput(ctx, con, path, oras.MaxManifestSize)
	if err != nil {
		return err
	}
	mediaType, err := c.manifestType(cmd, path, data)
	if err != nil {
		return err
	}
	if !oras.IsManifest(mediaType) {
		return hint(fmt.Errorf("%q is not the media type of a manifest", mediaType),
			"Those that are: %s. Push other content with \"oras blob push\"", strings.Join(oras.ManifestMediaTypes(), ", "))
	}
	if _, err := oras.ParseManifest(mediaType, data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	desc := oras.DescriptorOf(mediaType, data)
	if !c.digest.IsZero() {
		if got := c.digest.Algorithm().Digest(data); got != c.digest {
			return hint(fmt.Errorf("the digest of %s is %s, not %s", path, got, c.digest), "Push another file, or leave out the digest")
		}
		desc.Digest = c.digest.OCI()
	}
	dst, err := c.openWrite(ctx, env)
	if err != nil {
		return err
	}
	out := newTextOutput(con, nil, &c.commonFlags, pushVerbs)
	if c.descriptor {
		out.status = nil
	}
	if err := c.push(cmd, dst, desc, data, out); err != nil {
		return c.explain(env, err)
	}
	if c.descriptor {
		return writeCompact(con.out, plain(desc), c.pretty)
	}
	fmt.Fprintln(con.out, "Pushed:", c.target.String())
	writeTagged(con.out, &c.target)
	_, err = fmt.Fprintln(con.out, "Digest:", desc.Digest)
	return err
}

// manifestType returns the media type that the flag or the document says.
func (c *manifestPushCommand) manifestType(cmd *cobra.Command, path string, data []byte) (string, error) {
	if c.mediaType != "" {
		return c.mediaType, nil
	}
	var m struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return "", hint(fmt.Errorf("%s: not a manifest: %w", path, err), `Name a manifest in JSON, such as "oras manifest fetch" shows; "oras push" packs files into one`)
	}
	if m.MediaType == "" {
		return "", &usageError{
			err:   fmt.Errorf("media type is not specified via the flag %q nor in %q", "--media-type", path),
			usage: usageLine(cmd),
			hint:  fmt.Sprintf("Please specify a valid media type in the manifest JSON or via the %q flag", "--media-type"),
		}
	}
	return m.MediaType, nil
}

func (c *manifestPushCommand) push(cmd *cobra.Command, dst store, desc oras.Descriptor, data []byte, out *textOutput) error {
	ctx := cmd.Context()
	tags := c.tags
	exists, err := dst.Exists(ctx, desc)
	if err != nil {
		return err
	}
	content := bytes.NewReader(data)
	if exists {
		out.event(oras.Event{Kind: oras.Exists, Descriptor: desc})
		if c.isLayout() { // it lists from now on what was a blob so far
			err = oras.Push(ctx, dst, desc, content)
		}
	} else {
		out.event(oras.Event{Kind: oras.Copying, Descriptor: desc})
		if len(tags) > 0 {
			err, tags = oras.PushTagged(ctx, dst, desc, content, tags[0]), tags[1:]
		} else {
			err = oras.Push(ctx, dst, desc, content)
		}
		if err == nil {
			out.event(oras.Event{Kind: oras.Copied, Descriptor: desc})
		}
	}
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if err := dst.Tag(ctx, desc, tag); err != nil {
			return fmt.Errorf("tag %s: %w", tag, err)
		}
	}
	return nil
}
