package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

type copyCommand struct {
	commonFlags
	ttyFlags
	formatFlags
	transferFlags
	from, to    target
	platform    platformFlag
	recursive   bool
	concurrency int
	resolve     []string
}

func newCopyCommand(con console) *cobra.Command {
	var c copyCommand
	cmd := &cobra.Command{
		Use:     "cp [flags] <from>{:<tag>|@<digest>} <to>[:<tag>[,<tag>][...]]",
		Aliases: []string{"copy"},
		Short:   "Copy artifacts from one target to another",
		Long: `Copy artifacts from one target to another. When copying an image index, all of its manifests will be copied

Example - Copy an artifact between registries:
  oras cp localhost:5000/net-monitor:v1 localhost:6000/net-monitor-copy:v1

Example - Copy it with all that refers to it: signatures, SBOMs, and their signatures:
  oras cp -r localhost:5000/net-monitor:v1 localhost:6000/net-monitor-copy:v1

Example - Copy large content; if that is broken off, by the network or a kill, the same command goes on where it stopped:
  oras cp localhost:5000/large:v1 localhost:6000/large:v1

Example - Copy into and out of an OCI image layout, a directory or (out of) a tar archive:
  oras cp --to-oci-layout localhost:5000/net-monitor:v1 ./downloaded:v1
  oras cp --from-oci-layout ./to-upload:v1 localhost:5000/net-monitor:v1
  oras cp --from-oci-layout ./to-upload.tar:v1 localhost:5000/net-monitor:v1

Example - Copy what is for one platform:
  oras cp --platform linux/arm/v5 localhost:5000/net-monitor:v1 localhost:6000/net-monitor-copy:v1

Example - Copy under several tags, ten pieces at a time:
  oras cp --concurrency 10 localhost:5000/net-monitor:v1 localhost:6000/net-monitor-copy:tag1,tag2,tag3

Example - Copy between registries that list referrers in different ways:
  oras cp -r --from-distribution-spec v1.1-referrers-api --to-distribution-spec v1.1-referrers-tag \
    localhost:5000/net-monitor:v1 localhost:6000/net-monitor-copy:v1
`,
		Args: exactly(2, "the source and destination for copying"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0], args[1]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.ttyFlags.register(fs, "progress bars")
	c.from.register(fs, "from-", "source")
	c.from.registerDistributionSpec(fs, "source ")
	c.to.register(fs, "to-", "destination")
	c.to.registerDistributionSpec(fs, "destination ")
	c.platform.register(fs, "platform", "request platform")
	fs.BoolVarP(&c.recursive, "recursive", "r", false, "[Preview] recursively copy the artifact and its referrer artifacts")
	fs.IntVar(&c.concurrency, "concurrency", 3, "concurrency level")
	c.registerFormat(fs, formatNDJSON, formatText)
	c.registerRead(fs)
	fs.StringArrayVar(&c.resolve, "resolve", nil, "base DNS rules formatted in `host:port:address[:address_port]` for --from-resolve and --to-resolve")
	return cmd
}

func (c *copyCommand) run(cmd *cobra.Command, con console, from, to string) error {
	ctx := cmd.Context()
	c.from.baseResolve, c.to.baseResolve = c.resolve, c.resolve
	if err := firstError(c.parseFormat, c.platform.parse,
		func() error { return c.from.parse(from) },
		func() error { return c.to.parse(to) }); err != nil {
		return err
	}
	// An image layout with one image in it needs no tag.
	if c.from.reference() != "" || !c.from.isLayout() {
		if err := c.from.requireOne(cmd, from); err != nil {
			return err
		}
	}
	con = c.console(con)
	env, err := newEnvironment(con, &c.commonFlags, &c.from.remoteFlags, &c.to.remoteFlags)
	if err != nil {
		return err
	}
	env.transfer = c.transferFlags
	src, err := c.from.openRead(ctx, env)
	if err != nil {
		return err
	}
	out := newTextOutput(con, &c.formatFlags, &c.commonFlags, copyVerbs)
	uploads := openBlobUploads(&c.to)
	defer uploads.Close()
	desc, err := c.copy(ctx, env, src, out, uploads)
	if err != nil && c.from.reference() == "" && errors.Is(err, oras.ErrReference) { // there is more than one image
		return &usageError{
			err:   fmt.Errorf("%q: no tag or digest specified", from),
			usage: usageLine(cmd),
			hint:  strings.TrimPrefix(err.Error(), oras.ErrReference.Error()+": "),
		}
	}
	if err != nil {
		inContent := uploads.open.Load() > 0 || c.to.isLayout() && out.hasPart(c.to.name)
		return resumableCopy(c.explain(env, err), inContent, out.hasArrived())
	}
	if !c.from.digest.IsZero() && c.from.digest.OCI() != desc.Digest { // a platform was chosen
		c.from.raw = c.from.at(desc)
	}
	return unprinted(c.formatFlags.write(con.out, newCopyResult(c, desc)))
}

func (c *copyCommand) copy(ctx context.Context, env *environment, src store, out *textOutput, uploads *blobUploads) (oras.Descriptor, error) {
	opts := &oras.CopyOptions{
		Tags:        c.to.tags,
		Concurrency: concurrency(c.concurrency),
		Platform:    c.platform.platform,
		Referrers:   c.recursive,
		Journal:     uploads.record,
		Event:       out.event,
	}
	if !c.from.isLayout() && !c.to.isLayout() && c.from.ref.Registry == c.to.ref.Registry && c.from.ref.Repository != c.to.ref.Repository {
		opts.MountFrom = c.from.ref.Repository
	}
	reference := c.from.reference()
	if c.recursive || len(c.to.tags) == 0 || !c.to.digest.IsZero() || c.to.isLayout() {
		desc, err := c.find(ctx, src)
		if err != nil {
			return desc, err
		}
		reference, opts.Platform = string(desc.Digest), nil
	}
	dst, err := c.to.openWrite(ctx, env)
	if err != nil {
		return oras.Descriptor{}, err
	}
	return oras.Copy(ctx, src, reference, dst, opts)
}

// find resolves the source before the copy proper, so that nothing is made at the
// target for what is not there. As scripts know it, errors then name a side only
// if there is a tag to copy to.
func (c *copyCommand) find(ctx context.Context, src store) (oras.Descriptor, error) {
	reference := c.from.reference()
	desc, err := resolve(ctx, src, reference, c.platform.platform)
	switch {
	case reference == "" && errors.Is(err, oras.ErrReference):
		return desc, err
	case err != nil && (c.recursive || len(c.to.tags) == 0):
		if reference == "" {
			reference = c.from.raw
		}
		return desc, fmt.Errorf("failed to resolve %s: %w", reference, err)
	case err != nil:
		return desc, &oras.CopyError{Err: err}
	case !c.to.digest.IsZero() && c.to.digest.OCI() != desc.Digest:
		return desc, hint(fmt.Errorf("%q: what is copied has another digest, %s", c.to.raw, desc.Digest),
			"Copy to a tag, or leave out the digest: content keeps its own")
	}
	return desc, nil
}

// explain says which side an error of the copy comes from.
func (c *copyCommand) explain(env *environment, err error) error {
	var side *oras.CopyError
	if !errors.As(err, &side) {
		return c.from.explain(env, err)
	}
	t, name := &c.from, "source"
	if side.AtTarget {
		t, name = &c.to, "destination"
	}
	err = t.explain(env, side.Err)
	if t.isLayout() {
		return &prefixError{fmt.Sprintf("Error from %s OCI layout for %q:", name, t.raw), err}
	}
	return &prefixError{fmt.Sprintf("Error from %s registry for %q:", name, t.raw), err}
}

// copyResult is what cp prints.
type copyResult struct {
	Reference       string   `json:"reference"`
	Source          string   `json:"source"`
	MediaType       string   `json:"mediaType"`
	Digest          string   `json:"digest"`
	Size            int64    `json:"size"`
	ReferenceAsTags []string `json:"referenceAsTags"`

	from, to *target
}

func newCopyResult(c *copyCommand, desc oras.Descriptor) *copyResult {
	return &copyResult{
		Reference: c.to.at(desc), Source: c.from.at(desc), MediaType: desc.MediaType, Digest: string(desc.Digest), Size: desc.Size,
		ReferenceAsTags: c.to.withTags(), from: &c.from, to: &c.to,
	}
}

func (r *copyResult) text(w io.Writer) error {
	fmt.Fprintln(w, "Copied", r.from, "=>", r.to)
	writeTagged(w, r.to)
	_, err := fmt.Fprintln(w, "Digest:", r.Digest)
	return err
}
