package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

func newManifestIndexCommand(con console) *cobra.Command {
	return parent("index [command]", "Index operations",
		newManifestIndexCreateCommand(con),
		newManifestIndexUpdateCommand(con),
	)
}

// An indexCommand makes an index of manifests that are in the target: what
// manifest index create and update have in common.
type indexCommand struct {
	commonFlags
	target
	artifactType string
	output       string
	pretty       bool

	env   *environment
	store store
	text  io.Writer // what is done; not where the index itself is the output
}

func (c *indexCommand) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.target.register(fs, "", "")
	fs.StringVar(&c.artifactType, "artifact-type", "", "artifact type of the index")
	fs.StringVarP(&c.output, "output", "o", "", "file `path` to write the index to instead of pushing it, use - for stdout")
	fs.BoolVar(&c.pretty, "pretty", false, "prettify JSON objects printed to stdout")
}

func (c *indexCommand) checkType() error {
	if c.artifactType == "" {
		return nil
	}
	return oras.CheckMediaType(c.artifactType)
}

// checkTags refuses tags that the target cannot have, before anything is pushed.
func (c *indexCommand) checkTags(tags []string) error {
	for _, tag := range tags {
		_, err := oras.ParseDigest(tag)
		switch {
		case !c.isLayout():
			if err := oras.CheckTag(tag); err != nil {
				return err
			}
		case tag == "" || oneLine(tag) != tag || err == nil:
			return fmt.Errorf("%w: invalid tag %q", oras.ErrReference, tag)
		}
	}
	return nil
}

// open opens the target, in which there must be what the index is made of; of
// nothing it can be made anywhere.
func (c *indexCommand) open(ctx context.Context, con console, ofNothing bool) (err error) {
	c.text = con.out
	if c.output == "-" {
		c.text = io.Discard
	}
	if c.env, err = newEnvironment(con, &c.commonFlags, &c.remoteFlags); err != nil {
		return err
	}
	switch {
	case c.output != "" && ofNothing:
	case c.output != "":
		c.store, err = c.openRead(ctx, c.env)
	case ofNothing:
		c.store, err = c.openWrite(ctx, c.env)
	default:
		c.store, err = c.openExisting(ctx, c.env)
	}
	return err
}

// tell prints one line of what is done.
func (c *indexCommand) tell(word string, what ...string) {
	fmt.Fprintf(c.text, "%-9s %s\n", word, strings.Join(what, " "))
}

// tellOf is tell of content that reference, a tag or its digest, names.
func (c *indexCommand) tellOf(word string, desc oras.Descriptor, reference string) {
	if reference == desc.Digest.String() {
		c.tell(word, reference)
	} else {
		c.tell(word, desc.Digest.String(), reference)
	}
}

// A sourceKind is what a reference has to name.
type sourceKind struct {
	noun, article string
	is            func(mediaType string) bool
}

var (
	anyManifest = sourceKind{"manifest", "a", oras.IsManifest}
	anyIndex    = sourceKind{"index", "an", oras.IsIndex}
)

// find resolves a reference to what is of that kind.
func (c *indexCommand) find(ctx context.Context, reference string, kind sourceKind) (oras.Descriptor, error) {
	c.tell("Fetching", reference)
	desc, err := c.store.Resolve(ctx, reference)
	switch {
	case errors.Is(err, oras.ErrNotFound):
		at := c.target
		at.digest, _ = oras.ParseDigest(reference) // else it is a tag
		return desc, fmt.Errorf("could not find the %s %s: %w", kind.noun, reference, at.explain(c.env, err))
	case err != nil:
		return desc, c.explain(c.env, err)
	case kind.is(desc.MediaType):
		return desc, nil
	}
	err = fmt.Errorf("%s is not %s %s", reference, kind.article, kind.noun)
	if !c.isLayout() && !oras.IsManifest(desc.MediaType) { // registries keep blobs apart
		err = fmt.Errorf("could not find the %s %s: %w", kind.noun, reference, err)
	}
	return desc, err
}

// entry returns the manifest that reference names as an index lists it.
func (c *indexCommand) entry(ctx context.Context, reference string) (oras.Descriptor, error) {
	desc, err := c.find(ctx, reference, anyManifest)
	if err != nil {
		return desc, err
	}
	if desc, err = oras.IndexEntry(ctx, c.store, desc); err != nil {
		return desc, c.explain(c.env, err)
	}
	c.tellOf("Fetched", desc, reference)
	return desc, nil
}

// index reads the index that reference names.
func (c *indexCommand) index(ctx context.Context, reference string) (oras.Descriptor, *oras.Manifest, error) {
	desc, err := c.find(ctx, reference, anyIndex)
	if err != nil {
		return desc, nil, err
	}
	m, err := oras.ReadManifest(ctx, c.store, desc)
	if err != nil {
		return desc, nil, c.explain(c.env, err)
	}
	c.tellOf("Fetched", desc, reference)
	return desc, m, nil
}

// write makes the index, tells packed of it, and writes it where --output says, or
// pushes it to the target and gives it more tags.
func (c *indexCommand) write(ctx context.Context, con console, opts *oras.PackIndexOptions, more []string, packed func(oras.Descriptor)) error {
	memory := memory.New()
	desc, err := oras.PackIndex(ctx, memory, opts)
	if err != nil {
		return err
	}
	data, err := oras.FetchAll(ctx, memory, desc)
	if err != nil {
		return err
	}
	packed(desc)
	switch c.output {
	case "-":
		return writeData(con.out, data, c.pretty)
	case "":
		err = c.push(ctx, plain(desc), data, more)
	default:
		err = writeFile(c.output, data)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.text, "Digest:", desc.Digest)
	return err
}

// push pushes the index under the target's tag. A digest in the target is that of
// another.
func (c *indexCommand) push(ctx context.Context, desc oras.Descriptor, data []byte, more []string) (err error) {
	where, content := c.raw, bytes.NewReader(data)
	switch {
	case !c.digest.IsZero():
		where = c.name
		fallthrough
	case len(c.tags) == 0:
		err = oras.Push(ctx, c.store, desc, content)
	default:
		err = oras.PushTagged(ctx, c.store, desc, content, c.tags[0])
	}
	if err != nil {
		return c.explain(c.env, err)
	}
	c.tell("Pushed", fmt.Sprintf("[%s] %s", c.kind(), where))
	for _, tag := range more {
		if err := c.store.Tag(ctx, desc, tag); err != nil {
			return c.explain(c.env, fmt.Errorf("tag %s: %w", tag, err))
		}
		fmt.Fprintln(c.text, "Tagged", tag)
	}
	return nil
}
