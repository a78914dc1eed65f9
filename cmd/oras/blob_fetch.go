package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

type blobFetchCommand struct {
	commonFlags
	ttyFlags
	transferFlags
	target
	pretty     bool
	descriptor bool
	output     string
}

func newBlobFetchCommand(con console) *cobra.Command {
	var c blobFetchCommand
	cmd := &cobra.Command{
		Use:     "fetch [flags] {--output <file> | --descriptor} <name>@<digest>",
		Aliases: []string{"get"},
		Short:   "Fetch a blob from a registry or an OCI image layout",
		Long: `Fetch a blob from a registry or an OCI image layout

When a large blob was broken off on its way to a file, the same command goes on where it stopped.

Example - Write a blob to a file:
  oras blob fetch --output blob.tar.gz localhost:5000/hello@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a

Example - Print a blob:
  oras blob fetch --output - localhost:5000/hello@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a

Example - Print its descriptor:
  oras blob fetch --descriptor localhost:5000/hello@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a

Example - Fetch from the OCI image layout directory "layout-dir":
  oras blob fetch --oci-layout --output blob layout-dir@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
`,
		Args: exactly(1, "the target blob to fetch"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.ttyFlags.register(fs, "progress bars")
	c.target.register(fs, "", "")
	c.transferFlags.registerRead(fs)
	fs.BoolVar(&c.pretty, "pretty", false, "prettify JSON objects printed to stdout")
	fs.BoolVar(&c.descriptor, "descriptor", false, "output the descriptor of the blob")
	fs.StringVarP(&c.output, "output", "o", "", "output file `path`, use - for stdout")
	return cmd
}

func (c *blobFetchCommand) run(cmd *cobra.Command, con console, raw string) error {
	ctx := cmd.Context()
	switch {
	case c.output == "" && !c.descriptor:
		return errors.New("either `--output` or `--descriptor` must be provided")
	case c.output == "-" && c.descriptor:
		return errors.New("`--output -` cannot be used with `--descriptor` at the same time")
	}
	if err := c.requireDigest(cmd, raw); err != nil {
		return err
	}
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	env.transfer = c.transferFlags
	src, err := c.openCached(ctx, env)
	if err != nil {
		return err
	}
	desc, err := src.Resolve(ctx, c.digest.String())
	if err != nil {
		return c.explain(env, err)
	}
	if c.output != "" {
		out := newTextOutput(con, nil, &c.commonFlags, pullVerbs)
		switch {
		case c.descriptor || c.output == "-":
			out.status = nil
		default:
			out.status.w = io.Discard // there is no status line of a blob that is fetched
		}
		if err := c.fetch(ctx, con, src, desc, out); err != nil {
			goesOn := out.hasPart(filepath.Dir(c.output), os.Getenv(cacheVariable))
			return resumable(c.explain(env, err), goesOn, resumesInContent)
		}
	}
	if c.descriptor {
		return writeCompact(con.out, plain(desc), c.pretty)
	}
	return nil
}

// fetch writes the blob, verified on its way, to the output.
func (c *blobFetchCommand) fetch(ctx context.Context, con console, src store, desc oras.Descriptor, out *textOutput) error {
	content, err := src.Fetch(ctx, desc)
	if err != nil {
		return err
	}
	defer content.Close()
	out.event(oras.Event{Kind: oras.Copying, Descriptor: desc})
	verified := out.watch(content, desc)
	if c.output == "-" {
		_, err = io.Copy(con.out, verified)
	} else {
		err = writeContent(ctx, c.output, desc, verified)
	}
	if err == nil {
		out.event(oras.Event{Kind: oras.Copied, Descriptor: desc})
	}
	return err
}
