package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

type manifestFetchCommand struct {
	commonFlags
	formatFlags
	target
	platform   platformFlag
	pretty     bool
	descriptor bool
	output     string
	mediaTypes []string
}

func newManifestFetchCommand(con console) *cobra.Command {
	var c manifestFetchCommand
	cmd := &cobra.Command{
		Use:     "fetch [flags] <name>{:<tag>|@<digest>}",
		Aliases: []string{"get", "show"},
		Short:   "Fetch manifest of the target artifact",
		Long: `Fetch manifest of the target artifact

Example - Print a manifest, as it is or indented:
  oras manifest fetch localhost:5000/hello:v1
  oras manifest fetch --pretty localhost:5000/hello:v1

Example - Print its descriptor only:
  oras manifest fetch --descriptor localhost:5000/hello:v1

Example - Write it to a file:
  oras manifest fetch --output manifest.json localhost:5000/hello:v1

Example - Fetch what an index has for a platform:
  oras manifest fetch --platform linux/arm/v5 localhost:5000/hello:v1

Example - Ask for manifests of the given media types:
  oras manifest fetch --media-type application/vnd.oci.image.manifest.v1+json localhost:5000/hello:v1

Example - Print descriptor and content as JSON, or a part of them:
  oras manifest fetch localhost:5000/hello:v1 --format json
  oras manifest fetch localhost:5000/hello:v1 --format go-template --template "{{range .content.layers}}{{println .digest}}{{end}}"

Example - Fetch from an OCI image layout, a directory or a tar archive:
  oras manifest fetch --oci-layout layout-dir:v1
  oras manifest fetch --oci-layout layout.tar:v1
`,
		Args: exactly(1, "the manifest to fetch"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.formatFlags.register(fs)
	c.target.register(fs, "", "")
	c.platform.register(fs, "platform", "request platform")
	fs.BoolVar(&c.pretty, "pretty", false, "prettify JSON objects printed to stdout")
	fs.BoolVar(&c.descriptor, "descriptor", false, "fetch the descriptor of the manifest")
	fs.StringVarP(&c.output, "output", "o", "", "file `path` to write the fetched manifest to, use - for stdout")
	fs.StringSliceVar(&c.mediaTypes, "media-type", nil, "accepted media types")
	return cmd
}

func (c *manifestFetchCommand) check(cmd *cobra.Command, raw string) error {
	formatted := cmd.Flags().Changed("format")
	switch {
	case c.output == "-" && c.descriptor:
		return errors.New("`--descriptor` cannot be used with `--output -` at the same time")
	case c.output == "-" && formatted:
		return errors.New("`--output -` cannot be used with `--format ` at the same time")
	case c.descriptor && formatted:
		return exclusive("format", "descriptor")
	case c.pretty && formatted:
		return exclusive("format", "pretty")
	case len(c.mediaTypes) > 0 && c.isLayout():
		return errors.New("`--media-type` cannot be used with `--oci-layout` at the same time")
	}
	return firstError(c.parseFormat, c.platform.parse, func() error { return c.requireOne(cmd, raw) })
}

func (c *manifestFetchCommand) run(cmd *cobra.Command, con console, raw string) error {
	ctx := cmd.Context()
	if err := c.check(cmd, raw); err != nil {
		return err
	}
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	env.accept = c.mediaTypes
	src, err := c.openCached(ctx, env)
	if err != nil {
		return err
	}
	desc, data, err := c.fetch(ctx, src)
	if err != nil {
		return c.explain(env, err)
	}
	if c.output != "" && c.output != "-" {
		if err := writeFile(c.output, data); err != nil {
			return err
		}
	}
	switch {
	case c.descriptor:
		return writeCompact(con.out, desc, c.pretty)
	case c.output != "" && c.output != "-" && !c.machine():
		return nil
	}
	return c.formatFlags.write(con.out, &manifestResult{newDiscovered(&c.target, desc), data, c.pretty})
}

// fetch returns the manifest, without its content if only the descriptor is to be
// shown.
func (c *manifestFetchCommand) fetch(ctx context.Context, src store) (desc oras.Descriptor, data []byte, err error) {
	if c.descriptor && c.output == "" {
		desc, err = resolve(ctx, src, c.reference(), c.platform.platform)
	} else {
		desc, data, err = fetchManifest(ctx, src, c.reference(), c.platform.platform)
	}
	if len(c.mediaTypes) == 0 {
		return desc, data, err
	}
	// Some registries give what they have, whatever types are asked for.
	if err == nil && !slices.Contains(c.mediaTypes, desc.MediaType) {
		err = &prefixError{registryPrefix, fmt.Errorf("%s: its media type is %q: %w", c.raw, desc.MediaType, oras.ErrNotFound)}
	}
	if err != nil {
		err = fmt.Errorf("failed to fetch the content of %q: %w", c.raw, err)
	}
	return desc, data, err
}

// fetchManifest returns the manifest that reference names, or what it has for
// platform if that is not nil.
func fetchManifest(ctx context.Context, src oras.Source, reference string, platform *oras.Platform) (oras.Descriptor, []byte, error) {
	if platform != nil {
		desc, err := resolve(ctx, src, reference, platform)
		if err != nil {
			return desc, nil, err
		}
		data, err := oras.FetchAll(ctx, src, desc)
		return desc, data, err
	}
	desc, content, err := oras.FetchTagged(ctx, src, reference)
	if err != nil {
		return desc, nil, err
	}
	defer content.Close()
	data, err := oras.ReadAll(content, desc)
	return desc, data, err
}

// manifestResult is what manifest fetch prints.
type manifestResult struct {
	discovered
	data   []byte
	pretty bool
}

// MarshalJSON adds the content, whatever JSON it is.
func (r *manifestResult) MarshalJSON() ([]byte, error) {
	var content any
	if err := json.Unmarshal(r.data, &content); err != nil {
		return nil, fmt.Errorf("the manifest is no JSON: %w", err)
	}
	return json.Marshal(struct {
		discovered
		Content any `json:"content"`
	}{r.discovered, content})
}

func (r *manifestResult) text(w io.Writer) error { return writeData(w, r.data, r.pretty) }

// writeData prints JSON as it is or, if pretty is true, indented.
func writeData(w io.Writer, data []byte, pretty bool) error {
	if pretty {
		var b bytes.Buffer
		if err := json.Indent(&b, data, "", "  "); err != nil {
			return fmt.Errorf("not JSON that could be prettified: %w", err)
		}
		data = append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
	}
	_, err := w.Write(data)
	return err
}
