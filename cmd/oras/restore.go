package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/layout"
)

type restoreCommand struct {
	commonFlags
	ttyFlags
	formatFlags
	transferFlags
	target
	input            string
	excludeReferrers bool
	dryRun           bool
	concurrency      int

	uploads *blobUploads
	arrived bool // some content is at the registry
}

func newRestoreCommand(con console) *cobra.Command {
	var c restoreCommand
	cmd := &cobra.Command{
		Use:   "restore [flags] --input <path> <registry>/<repository>[:<ref1>[,<ref2>...]]",
		Short: "[Experimental] Restore artifacts to a registry from an OCI image layout",
		Long: `[Experimental] Restore artifacts to a registry from an OCI image layout, a directory or a tar archive

An archive is read where it is, and need not be unpacked. What the registry has is not pushed again.

Example - Restore what is tagged "v1" from a tar archive, or from a directory:
  oras restore --input hello.tar localhost:5000/hello:v1
  oras restore --input hello localhost:5000/hello:v1

Example - Restore several tags, or all there are:
  oras restore --input hello localhost:5000/hello:v1,v2
  oras restore --input hello localhost:5000/hello

Example - See what would be restored, and push nothing:
  oras restore --input hello --dry-run localhost:5000/hello

Example - Restore without what refers to the artifacts: signatures, SBOMs:
  oras restore --input hello --exclude-referrers localhost:5000/hello

Example - Choose how the registry is told of referrers:
  oras restore --input hello --distribution-spec v1.1-referrers-api localhost:5000/hello
  oras restore --input hello --distribution-spec v1.1-referrers-tag localhost:5000/hello

Example - Restore to a registry without TLS, or with a certificate that nobody vouches for:
  oras restore --input hello --plain-http registry.example/hello:v1
  oras restore --input hello --insecure registry.example/hello:v1

Example - Push six pieces at a time:
  oras restore --input hello --concurrency 6 localhost:5000/hello:v1
`,
		Args: exactly(1, "the target to restore to"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.ttyFlags.register(fs, "progress bars")
	c.remoteFlags.register(fs, "", "")
	c.registerDistributionSpec(fs, "")
	fs.StringVar(&c.input, "input", "", "path to the OCI layout, either a tar archive (*.tar) or a directory")
	fs.BoolVar(&c.excludeReferrers, "exclude-referrers", false, "restore artifacts excluding their referrers")
	fs.BoolVar(&c.dryRun, "dry-run", false, "simulate the restore process without actually uploading any artifacts")
	fs.IntVar(&c.concurrency, "concurrency", 5, "concurrency level")
	c.registerFormat(fs, formatNDJSON, formatText)
	c.registerLimit(fs)
	requireFlag(cmd, "input")
	return cmd
}

func (c *restoreCommand) run(cmd *cobra.Command, con console, raw string) error {
	ctx, start := cmd.Context(), time.Now()
	if err := firstError(c.parseFormat, func() error { return c.parseTags(raw) }); err != nil {
		return err
	}
	con = c.console(con)
	src, err := c.openInput(ctx, con)
	if err != nil {
		return err
	}
	tagged, err := c.findTagged(ctx, src)
	if err != nil {
		return err
	}
	fmt.Fprintf(con.out, "Found %d tag(s) in the backup: %s\n", len(tagged), names(tagged))
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	env.transfer = c.transferFlags
	dst, err := c.openWrite(ctx, env)
	if err != nil {
		return err
	}
	c.uploads = openBlobUploads(&c.target)
	defer c.uploads.Close()
	told := endedContent{}
	result := &restoreResult{Repository: c.name, Input: c.input, DryRun: c.dryRun, start: start}
	for _, t := range tagged {
		done, err := c.restore(ctx, con, src, dst, t, told)
		if err != nil {
			err = c.explain(env, fmt.Errorf("failed to restore tag %q from %q to %q: %w", t.tag, c.input, c.name, err))
			return resumableCopy(err, c.uploads.open.Load() > 0, c.arrived)
		}
		result.Tags = append(result.Tags, done)
	}
	return unprinted(c.formatFlags.write(con.out, result))
}

// restoreResult is what restore prints.
type restoreResult struct {
	Repository string      `json:"repository"`
	Input      string      `json:"input"`
	DryRun     bool        `json:"dryRun"`
	Tags       []copiedTag `json:"tags"`

	start time.Time
}

func (r *restoreResult) text(w io.Writer) (err error) {
	if r.DryRun {
		_, err = fmt.Fprintf(w, "Dry run complete: %d tag(s) would be restored to %q (no data pushed)\n", len(r.Tags), r.Repository)
	} else {
		_, err = fmt.Fprintf(w, "Successfully restored %d tag(s) to %q in %s\n", len(r.Tags), r.Repository, time.Since(r.start).Round(time.Millisecond))
	}
	return err
}

// openInput opens the backup.
func (c *restoreCommand) openInput(ctx context.Context, con console) (*layout.Store, error) {
	if c.input == "" {
		return nil, errors.New("the input path cannot be empty")
	}
	info, err := os.Stat(c.input)
	if err != nil {
		return nil, hint(fmt.Errorf("failed to access input path %q: %w", c.input, err), makesBackup)
	}
	src, err := openLayout(ctx, c.input, layout.OpenReadOnly)
	switch {
	case err == nil && !info.IsDir():
		fmt.Fprintf(con.out, "Loaded backup archive: %s (%s)\n", c.input, byteSize(info.Size()))
	case err == nil:
	case info.IsDir() && errors.Is(err, fs.ErrNotExist): // there is no layout in it
		return nil, noTags("OCI layout", c.input, "oras repo tags --oci-layout")
	case info.IsDir():
		return nil, hint(fmt.Errorf("failed to prepare OCI store from directory: %w", err), makesBackup)
	case !isTar(c.input) && (errors.Is(err, oras.ErrInvalid) || errors.Is(err, fs.ErrNotExist)):
		way := makesBackup
		if strings.Contains(err.Error(), "gunzip") { // it says what to do
			way = err.Error()
		}
		return nil, hint(fmt.Errorf("input path %q is not a tar archive", c.input), "%s", way)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, hint(fmt.Errorf("failed to prepare OCI store from tar archive: %w", err), cutOff)
	default:
		return nil, hint(fmt.Errorf("failed to prepare OCI store from tar archive: %w", err), makesBackup)
	}
	return src, err
}

// findTagged looks up what is to be restored. A tag that no registry can have is an
// error before anything is pushed.
func (c *restoreCommand) findTagged(ctx context.Context, src *layout.Store) ([]taggedManifest, error) {
	tagged, err := findTagged(ctx, src, c.tags, concurrency(c.concurrency))
	if err == nil && len(tagged) == 0 {
		err = noTags("OCI layout", c.input, "oras repo tags --oci-layout")
	}
	if errors.Is(err, oras.ErrNotFound) {
		return nil, hint(err, "Run %q for the tags there are", "oras repo tags --oci-layout "+c.input)
	}
	if err != nil {
		return nil, err
	}
	for _, t := range tagged {
		if err := oras.CheckTag(t.tag); err != nil {
			return nil, hint(fmt.Errorf("%s: %w", c.input, err),
				"Name the tags to restore behind %q, or copy that one with \"oras cp --from-oci-layout-path\"", c.name)
		}
	}
	return tagged, nil
}

// restore restores one tag, or says that it would.
func (c *restoreCommand) restore(ctx context.Context, con console, src *layout.Store, dst store, t taggedManifest, told endedContent) (done copiedTag, err error) {
	referrers := 0
	if !c.excludeReferrers {
		if referrers, err = countReferrers(ctx, src, t.root); err != nil {
			return done, err
		}
	}
	done = newCopiedTag(t, referrers)
	if c.dryRun {
		_, err = fmt.Fprintf(con.out, "Dry run: would push tag %s with %d referrer(s)\n", t.tag, referrers)
		return done, err
	}
	out := newTextOutput(con, &c.formatFlags, &c.commonFlags, restoreVerbs)
	err = c.push(ctx, src, dst, t, told.once(out.event))
	c.arrived = c.arrived || out.hasArrived()
	if err != nil {
		return done, err
	}
	_, err = fmt.Fprintf(con.out, "Pushed tag %s with %d referrer(s)\n", t.tag, referrers)
	return done, err
}

func (c *restoreCommand) push(ctx context.Context, src *layout.Store, dst store, t taggedManifest, event func(oras.Event)) error {
	list := digestTag().MatchString(t.tag)
	opts := &oras.CopyOptions{
		Concurrency: concurrency(c.concurrency),
		Referrers:   !c.excludeReferrers,
		Journal:     c.uploads.record,
		Event:       event,
	}
	if !list {
		opts.Tags = []string{t.tag}
	}
	if _, err := oras.Copy(ctx, src, string(t.root.Digest), dst, opts); err != nil || !list {
		return err
	}
	// A list of referrers, of a registry that leaves it to its clients. The target's
	// has what was just pushed, and perhaps more than the backup knows of.
	if _, err := dst.Resolve(ctx, t.tag); oras.Kind(err) != oras.ErrNotFound {
		return err
	}
	return dst.Tag(ctx, t.root, t.tag)
}
