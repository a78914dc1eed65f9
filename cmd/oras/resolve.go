package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

type resolveCommand struct {
	commonFlags
	target
	platform platformFlag
	full     bool
}

func newResolveCommand(con console) *cobra.Command {
	var c resolveCommand
	cmd := &cobra.Command{
		Use:     "resolve [flags] <name>{:<tag>|@<digest>}",
		Aliases: []string{"digest"},
		Short:   "[Preview] Resolve the digest of what a reference names",
		Long: `[Preview] Resolve the digest of what a reference names

Example - Print the digest of a tag:
  oras resolve localhost:5000/hello:v1

Example - Print it as a full reference:
  oras resolve --full-reference localhost:5000/hello:v1

Example - Print the digest of what an index has for a platform:
  oras resolve --platform linux/arm64 localhost:5000/hello:v1
`,
		Args: exactly(1, "the target artifact to resolve"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.target.register(fs, "", "")
	c.platform.register(fs, "platform", "request platform")
	fs.BoolVarP(&c.full, "full-reference", "l", false, "print the full artifact reference with digest")
	return cmd
}

func (c *resolveCommand) run(cmd *cobra.Command, con console, raw string) error {
	ctx := cmd.Context()
	if err := firstError(c.platform.parse, func() error { return c.requireOne(cmd, raw) }); err != nil {
		return err
	}
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	src, err := c.openRead(ctx, env)
	if err != nil {
		return err
	}
	desc, err := resolve(ctx, src, c.reference(), c.platform.platform)
	if err != nil {
		return fmt.Errorf("failed to resolve digest: %w", c.explain(env, err))
	}
	if c.full {
		_, err = fmt.Fprintln(con.out, c.at(desc))
	} else {
		_, err = fmt.Fprintln(con.out, desc.Digest)
	}
	return err
}

// resolve returns the descriptor of reference, or of what it has for platform if
// that is not nil.
func resolve(ctx context.Context, s oras.Source, reference string, platform *oras.Platform) (oras.Descriptor, error) {
	desc, err := s.Resolve(ctx, reference)
	if err != nil || platform == nil {
		return desc, err
	}
	return oras.SelectPlatform(ctx, s, desc, platform)
}
