package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

type fetchConfigCommand struct {
	commonFlags
	target
	platform   platformFlag
	pretty     bool
	descriptor bool
	output     string
}

func newManifestFetchConfigCommand(con console) *cobra.Command {
	var c fetchConfigCommand
	cmd := &cobra.Command{
		Use:     "fetch-config [flags] <name>{:<tag>|@<digest>}",
		Aliases: []string{"get-config"},
		Short:   "Fetch the config of a manifest",
		Long: `Fetch the config of a manifest

Example - Print the config of an artifact, as it is or indented:
  oras manifest fetch-config localhost:5000/hello:v1
  oras manifest fetch-config --pretty localhost:5000/hello:v1

Example - Print the descriptor of the config only:
  oras manifest fetch-config --descriptor localhost:5000/hello:v1

Example - Write the config for a platform to a file:
  oras manifest fetch-config --platform linux/arm/v5 --output config.json localhost:5000/hello:v1

Example - Fetch from the OCI image layout directory "layout-dir":
  oras manifest fetch-config --oci-layout layout-dir:v1
`,
		Args: exactly(1, "the manifest config to fetch"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.target.register(fs, "", "")
	c.platform.register(fs, "platform", "request platform")
	fs.BoolVar(&c.pretty, "pretty", false, "prettify JSON objects printed to stdout")
	fs.BoolVar(&c.descriptor, "descriptor", false, "fetch the descriptor of the config")
	fs.StringVarP(&c.output, "output", "o", "", "file `path` to write the fetched config to, use - for stdout")
	return cmd
}

func (c *fetchConfigCommand) run(cmd *cobra.Command, con console, raw string) error {
	ctx := cmd.Context()
	if c.output == "-" && c.descriptor {
		return errors.New("`--output -` cannot be used with `--descriptor` at the same time")
	}
	if err := firstError(c.platform.parse, func() error { return c.requireOne(cmd, raw) }); err != nil {
		return err
	}
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	src, err := c.openCached(ctx, env)
	if err != nil {
		return err
	}
	desc, data, err := fetchManifest(ctx, src, c.reference(), c.platform.platform)
	if err != nil {
		return c.explain(env, err)
	}
	m, err := oras.ParseManifest(desc.MediaType, data)
	if err != nil {
		return fmt.Errorf("%s: %w", desc.Digest, err)
	}
	if m.Config == nil {
		return fmt.Errorf("%q is not an image manifest and does not have a config", desc.Digest)
	}
	if c.descriptor && c.output == "" {
		return writeCompact(con.out, m.Config, c.pretty)
	}
	config, err := oras.FetchAll(ctx, src, *m.Config)
	if err != nil {
		return c.explain(env, err)
	}
	if c.output != "" && c.output != "-" {
		if err := writeFile(c.output, config); err != nil || !c.descriptor {
			return err
		}
	}
	if c.descriptor {
		return writeCompact(con.out, m.Config, c.pretty)
	}
	return writeData(con.out, config, c.pretty)
}
