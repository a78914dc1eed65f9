package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

// A deleteCommand deletes content of one kind: what manifest delete and blob delete
// have in common.
type deleteCommand struct {
	commonFlags
	target
	force      bool
	descriptor bool
	pretty     bool

	noun     string // "manifest" or "blob"
	question string // with a place for the digest
}

func (c *deleteCommand) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.target.register(fs, "", "")
	fs.BoolVarP(&c.force, "force", "f", false, "do not prompt for confirmation")
	fs.BoolVar(&c.descriptor, "descriptor", false, "output the descriptor of what was deleted")
	fs.BoolVar(&c.pretty, "pretty", false, "prettify JSON objects printed to stdout")
}

// run deletes what the target names, if whoever asked for it confirms that. parse
// is the target's way to read its reference.
func (c *deleteCommand) run(ctx context.Context, con console, parse func() error) error {
	if c.descriptor && !c.force {
		return errors.New("must apply --force to confirm the deletion if the descriptor is outputted")
	}
	if err := parse(); err != nil {
		return err
	}
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	store, err := c.openExisting(ctx, env)
	if c.isLayout() && errors.Is(err, fs.ErrNotExist) {
		return c.missing(con, hint(err, "There is no OCI image layout at %s", c.name))
	}
	if err != nil {
		return err
	}
	desc, err := c.find(ctx, store)
	if err == nil {
		err = c.delete(ctx, con, store, desc)
	}
	if errors.Is(err, oras.ErrNotFound) {
		return c.missing(con, c.explain(env, err))
	}
	return c.explain(env, err)
}

// delete asks, deletes and tells.
func (c *deleteCommand) delete(ctx context.Context, con console, store store, desc oras.Descriptor) error {
	if !c.force {
		yes, err := confirm(ctx, con, fmt.Sprintf(c.question, desc.Digest))
		if err != nil || !yes {
			return err
		}
	}
	gone := desc
	if c.noun == "manifest" && !oras.IsManifest(desc.MediaType) {
		gone.MediaType = "" // a store would take it for a blob
	}
	if err := store.Delete(ctx, gone); err != nil {
		return fmt.Errorf("failed to delete %s: %w", c.raw, err)
	}
	if c.descriptor {
		return writeCompact(con.out, desc, c.pretty)
	}
	_, err := fmt.Fprintln(con.out, "Deleted", c.target.String())
	return err
}

// find resolves the reference. Content of the kind that the command does not delete
// is not found, though a digest names it all the same.
func (c *deleteCommand) find(ctx context.Context, store store) (oras.Descriptor, error) {
	desc, err := store.Resolve(ctx, c.reference())
	if err != nil {
		return desc, err
	}
	manifest := oras.IsManifest(desc.MediaType)
	if c.noun == "blob" {
		if manifest {
			err = hint(oras.ErrNotFound, `It is a manifest: use "oras manifest delete"`)
		}
		return desc, err
	}
	if !manifest && c.digest.IsZero() {
		manifest = true // of a kind that is not known: tags name nothing else
	}
	if !manifest && !c.isLayout() { // registries keep manifests apart, whatever they are
		place := oras.Descriptor{MediaType: oras.MediaTypeImageManifest, Digest: desc.Digest}
		if manifest, err = store.Exists(ctx, place); err != nil {
			return desc, err
		}
	}
	if !manifest {
		err = hint(oras.ErrNotFound, `It is a blob: use "oras blob delete"`)
	}
	return desc, err
}

// missing tells that there is nothing to delete: an error, with the hint of cause
// if it has one, or with --force as good as a deletion.
func (c *deleteCommand) missing(con console, cause error) error {
	if c.force && !c.descriptor {
		_, err := fmt.Fprintln(con.out, "Missing", c.raw)
		return err
	}
	err := fmt.Errorf("%s: the specified %s does not exist", c.raw, c.noun)
	var known *usageError
	if errors.As(cause, &known) {
		return hint(err, "%s", known.hint)
	}
	return err
}

// confirm asks a question, which no answer denies.
func confirm(ctx context.Context, con console, question string) (bool, error) {
	p := prompter{ctx, con.in, con.out, con.stdin(ctx), false}
	answer, err := p.line(question + " [y/N] ")
	if err != nil {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	_, err = fmt.Fprintln(con.out, "Operation cancelled.")
	return false, err
}
