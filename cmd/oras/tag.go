package main

import (
	"fmt"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/c73062ad/oras"
)

type tagCommand struct {
	commonFlags
	target
	concurrency int
}

func newTagCommand(con console) *cobra.Command {
	var c tagCommand
	cmd := &cobra.Command{
		Use:   "tag [flags] <name>{:<tag>|@<digest>} <new_tag> [...]",
		Short: "Tag a manifest in a registry or an OCI image layout",
		Long: `Tag a manifest in a registry or an OCI image layout

Example - Give the tag "latest" to what is tagged "v1":
  oras tag localhost:5000/hello:v1 latest

Example - Give several tags to a digest:
  oras tag localhost:5000/hello@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a v1.0.1 v1.0 latest

Example - Tag in the OCI image layout directory "layout-dir":
  oras tag --oci-layout layout-dir:v1 latest
`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "list" {
				where := "a repository"
				if c.isLayout() {
					where = "an OCI image layout"
				}
				return &usageError{
					err:   fmt.Errorf("there is no %q sub-command for %q command", "list", cmd.CommandPath()),
					usage: usageLine(cmd),
					hint:  fmt.Sprintf("If you want to list available tags in %s, use %q", where, "oras repo tags"),
				}
			}
			return atLeast(1, "the artifact to be retagged and the tags to be added")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0], args[1:]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.target.register(fs, "", "")
	fs.IntVar(&c.concurrency, "concurrency", 5, "concurrency level")
	return cmd
}

func (c *tagCommand) run(cmd *cobra.Command, con console, raw string, tags []string) error {
	ctx := cmd.Context()
	if err := c.requireOne(cmd, raw); err != nil {
		return fmt.Errorf("unable to add tag for '%s': %w", raw, err)
	}
	if len(tags) == 0 {
		return atLeast(2, "the artifact to be retagged and the tags to be added")(cmd, []string{raw})
	}
	if !c.isLayout() {
		for _, tag := range tags {
			if err := oras.CheckTag(tag); err != nil {
				return fmt.Errorf("unable to add tag for '%s': %w", raw, err)
			}
		}
	}
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	dst, err := c.openExisting(ctx, env)
	if err != nil {
		return err
	}
	desc, err := dst.Resolve(ctx, c.reference())
	if err != nil {
		return c.explain(env, err)
	}
	fmt.Fprintf(con.out, "Tagging [%s] %s\n", c.kind(), c.at(desc))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(concurrency(c.concurrency))
	var mu sync.Mutex
	for _, tag := range tags {
		g.Go(func() error {
			if err := dst.Tag(ctx, desc, tag); err != nil {
				return fmt.Errorf("tag %s: %w", tag, err)
			}
			mu.Lock()
			defer mu.Unlock()
			_, err := fmt.Fprintln(con.out, "Tagged", tag)
			return unprinted(err)
		})
	}
	return c.explain(env, g.Wait())
}
