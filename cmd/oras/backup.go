package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/claim"
	"github.com/c73062ad/oras/layout"
)

type backupCommand struct {
	commonFlags
	ttyFlags
	formatFlags
	transferFlags
	target
	output           string
	includeReferrers bool
	concurrency      int

	arrived bool        // some content is where it is kept
	out     *textOutput // of the tag that was copied last, or nil
}

func newBackupCommand(con console) *cobra.Command {
	var c backupCommand
	cmd := &cobra.Command{
		Use:   "backup [flags] --output <path> <registry>/<repository>[:<ref1>[,<ref2>...]]",
		Short: "[Experimental] Back up artifacts from a registry into an OCI image layout",
		Long: `[Experimental] Back up artifacts from a registry into an OCI image layout, a directory or a tar archive

An output path that ends with ".tar" means an archive, which appears under that name when it is whole; until then
its content is kept in a hidden directory beside it. Any other path means a directory. One that is an OCI image
layout already keeps what it has, and what is there is not pulled again. A backup that is broken off goes on when the
same command is run again.

Example - Back up what is tagged "v1" to a directory:
  oras backup --output hello localhost:5000/hello:v1

Example - Back up to a tar archive:
  oras backup --output hello.tar localhost:5000/hello:v1

Example - Back up with all that refers to it: signatures, SBOMs, and their signatures:
  oras backup --output hello --include-referrers localhost:5000/hello:v1

Example - Back up several tags, or all there are:
  oras backup --output hello localhost:5000/hello:v1,v2,v3
  oras backup --output hello localhost:5000/hello

Example - Choose how the registry is asked for referrers:
  oras backup --output hello --include-referrers --distribution-spec v1.1-referrers-api localhost:5000/hello:v1
  oras backup --output hello --include-referrers --distribution-spec v1.1-referrers-tag localhost:5000/hello:v1

Example - Back up from a registry without TLS, or with a certificate that nobody vouches for:
  oras backup --output hello --plain-http registry.example/hello:v1
  oras backup --output hello --insecure registry.example/hello:v1

Example - Pull six pieces at a time:
  oras backup --output hello --concurrency 6 localhost:5000/hello:v1
`,
		Args: exactly(1, "the artifacts to back up"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.ttyFlags.register(fs, "progress bars")
	c.remoteFlags.register(fs, "", "")
	c.registerDistributionSpec(fs, "")
	fs.StringVarP(&c.output, "output", "o", "", "path to the target output, either a tar archive (*.tar) or a directory")
	fs.BoolVar(&c.includeReferrers, "include-referrers", false, "back up the artifact with its referrers (e.g., attestations, SBOMs)")
	fs.IntVar(&c.concurrency, "concurrency", 3, "concurrency level")
	c.registerFormat(fs, formatNDJSON, formatText)
	c.registerRead(fs)
	requireFlag(cmd, "output")
	return cmd
}

func (c *backupCommand) run(cmd *cobra.Command, con console, raw string) error {
	ctx, start := cmd.Context(), time.Now()
	if err := firstError(c.parseFormat, func() error { return c.parseTags(raw) }, c.checkOutput); err != nil {
		return err
	}
	con = c.console(con)
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	env.transfer = c.transferFlags
	src, err := c.openRead(ctx, env)
	if err != nil {
		return err
	}
	// Before anything is made of the output.
	tagged, err := findTagged(ctx, src, c.tags, concurrency(c.concurrency))
	if err != nil {
		return c.explain(env, err)
	}
	if len(tagged) == 0 {
		return noTags("repository", c.name, "oras repo tags")
	}
	fmt.Fprintf(con.out, "Found %d tag(s) in %s: %s\n", len(tagged), c.name, names(tagged))
	back := c.toDirectory
	if isTar(c.output) {
		back = c.toTar
	}
	result := &backupResult{Repository: c.name, Output: c.output, start: start}
	if result.Tags, err = back(ctx, con, src, tagged); err != nil {
		return c.explain(env, err)
	}
	return unprinted(c.formatFlags.write(con.out, result))
}

// backupResult is what backup prints.
type backupResult struct {
	Repository string      `json:"repository"`
	Output     string      `json:"output"`
	Tags       []copiedTag `json:"tags"`

	start time.Time
}

// A copiedTag is a tag that was backed up or restored.
type copiedTag struct {
	Tag       string `json:"tag"`
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
	Referrers int    `json:"referrers"`
}

func newCopiedTag(t taggedManifest, referrers int) copiedTag {
	return copiedTag{t.tag, t.root.MediaType, string(t.root.Digest), t.root.Size, referrers}
}

func (r *backupResult) text(w io.Writer) error {
	_, err := fmt.Fprintf(w, "Successfully backed up %d tag(s) from %q to %q in %s.\n",
		len(r.Tags), r.Repository, r.Output, time.Since(r.start).Round(time.Millisecond))
	return err
}

// checkOutput checks the output path against what is there.
func (c *backupCommand) checkOutput() error {
	if c.output == "" {
		return errors.New("the output path cannot be empty")
	}
	info, err := os.Stat(c.output)
	switch {
	case err != nil:
		return nil // making it says what is wrong
	case isTar(c.output) && info.IsDir():
		return hint(fmt.Errorf("the output path %q already exists and is a directory", c.output),
			"To back up to a tar archive, please specify a different output file name or remove the existing directory.")
	case !isTar(c.output) && !info.IsDir():
		return hint(fmt.Errorf("the output path %q already exists and is not a directory", c.output),
			`To back up to a tar archive, please specify an output file name that ends with ".tar".`)
	}
	return nil
}

// isTar reports whether path means a tar archive, by its suffix.
func isTar(path string) bool { return strings.EqualFold(filepath.Ext(path), ".tar") }

// toDirectory backs up into the layout in the output directory, which comes to be
// if need be.
func (c *backupCommand) toDirectory(ctx context.Context, con console, src store, tagged []taggedManifest) ([]copiedTag, error) {
	dst, err := createLayout(ctx, c.output)
	if err != nil {
		return nil, err
	}
	done, err := c.pull(ctx, con, src, dst, tagged)
	return done, resumableCopy(err, c.hasPart(c.output), c.arrived)
}

// toTar backs up into a layout of its own beside the output file, of which then
// that file is made. When it is broken off the layout stays, for the next who backs up
// the same.
func (c *backupCommand) toTar(ctx context.Context, con console, src store, tagged []taggedManifest) (done []copiedTag, err error) {
	dir, remove, err := c.openWork(tagged)
	if err != nil {
		return nil, unwrittenHint(fmt.Errorf("%s: %w", c.output, cause(err)), "Name with --output a file in a directory that can be written")
	}
	inContent := false
	defer func() {
		err = errors.Join(err, remove(err != nil && (inContent || c.arrived)))
		err = resumableCopy(err, inContent, c.arrived)
	}()
	dst, err := layout.Open(dir)
	if err != nil {
		return nil, unwrittenLayout(c.output, err)
	}
	defer dst.Close() // before its directory is removed
	if done, err = c.pull(ctx, con, src, dst, tagged); err != nil {
		inContent = c.hasPart(dir)
		return nil, err
	}
	fmt.Fprintln(con.out, "Exporting to", c.output)
	if err := writeNew(c.output, func(w io.Writer) error { return dst.WriteTar(ctx, w) }); err != nil {
		return nil, err
	}
	info, err := os.Stat(c.output)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(con.out, "Exported to %s (%s)\n", c.output, byteSize(info.Size()))
	return done, err
}

// Directories in which archives come to be, and how long one stays that nobody goes on
// with.
const (
	workPrefix = ".oras-backup-"
	workLock   = "lock"
	workAge    = 7 * 24 * time.Hour
)

// openWork returns the directory beside the output file in which that comes to be. Its
// name says what of, so that another run finds it. Nobody else has it: where somebody
// backs up the same at the same time it is another, that no run finds. remove lets go of
// it, and removes it unless it is to be kept.
func (c *backupCommand) openWork(tagged []taggedManifest) (dir string, remove func(keep bool) error, err error) {
	parent := filepath.Dir(c.output)
	removeOldWork(parent)
	what := fmt.Sprintf("%q %q %v", filepath.Base(c.output), c.name, c.includeReferrers)
	for _, t := range tagged {
		what += fmt.Sprintf(" %q %s", t.tag, t.root.Digest)
	}
	dir = filepath.Join(parent, workPrefix+oras.SHA256.Digest([]byte(what)).Hex()[:32])
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", nil, err
	}
	if info, err := os.Lstat(dir); err != nil || !claim.IsOurDir(info) {
		// Somebody else made it, who may look into it, or change what is there.
	} else if lock, err := lockWork(dir); err == nil {
		return dir, func(keep bool) error {
			if keep {
				return lock.Close()
			}
			return removeWork(dir, lock)
		}, nil
	} else {
		os.Remove(dir) // if it is empty: nothing can be locked there
	}
	dir, err = os.MkdirTemp(parent, workPrefix)
	return dir, func(bool) error { return os.RemoveAll(dir) }, err
}

// lockWork locks the directory for this process alone.
func lockWork(dir string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	lock, err := claim.File(root, workLock)
	if err != nil {
		return nil, err
	}
	// Who had it may be about to remove it.
	opened, err := root.Stat(".")
	if err == nil {
		var there fs.FileInfo
		if there, err = os.Stat(dir); err == nil && !os.SameFile(opened, there) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// removeWork removes the directory, first of all its name, so that nobody takes for
// theirs what is being removed. Where a directory keeps its name as long as something in it
// is open, that is when the lock was let go; if it does then, too, somebody else has it now.
func removeWork(dir string, lock *os.File) error {
	nameless := filepath.Join(filepath.Dir(dir), workPrefix+rand.Text())
	if err := os.Rename(dir, nameless); err == nil {
		return errors.Join(os.RemoveAll(nameless), lock.Close())
	}
	if err := lock.Close(); err != nil {
		return err
	}
	if os.Rename(dir, nameless) != nil {
		return nil
	}
	return os.RemoveAll(nameless)
}

// workGrammar is that of the names that openWork and removeWork give.
var workGrammar = regexp.MustCompile(`^\.oras-backup-(?:[0-9a-f]{32}|[A-Z2-7]{26})$`)

// removeOldWork removes what was left in parent by those who were killed, once nobody
// went on with it for long. What somebody else made, or somebody's own directory of a
// name like ours, has no lock of ours.
func removeOldWork(parent string) {
	left, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, entry := range left {
		if !workGrammar.MatchString(entry.Name()) {
			continue
		}
		dir := filepath.Join(parent, entry.Name())
		info, err := os.Lstat(dir)
		if err != nil || !claim.IsOurDir(info) || time.Since(info.ModTime()) <= workAge {
			continue
		}
		if info, err := os.Lstat(filepath.Join(dir, workLock)); err != nil || !claim.IsOurs(info) {
			continue
		}
		if lock, err := lockWork(dir); err == nil {
			_ = removeWork(dir, lock) // or the next who comes by
		}
	}
}

// hasPart reports whether the layout in dir has a part of what was to be copied last.
func (c *backupCommand) hasPart(dir string) bool { return c.out != nil && c.out.hasPart(dir) }

// pull copies tag by tag.
func (c *backupCommand) pull(ctx context.Context, con console, src store, dst *layout.Store, tagged []taggedManifest) (done []copiedTag, err error) {
	told := endedContent{}
	for _, t := range tagged {
		out := newTextOutput(con, &c.formatFlags, &c.commonFlags, backupVerbs)
		c.out = out
		_, err := oras.Copy(ctx, src, string(t.root.Digest), dst, &oras.CopyOptions{
			Tags:        []string{t.tag},
			Concurrency: concurrency(c.concurrency),
			Referrers:   c.includeReferrers,
			Event:       told.once(out.event),
		})
		c.arrived = c.arrived || out.hasArrived()
		referrers := 0
		if err == nil && c.includeReferrers {
			referrers, err = countReferrers(ctx, dst, t.root)
		}
		if err != nil {
			if why := unwritten(err); why != nil {
				err = unwrittenHint(why, writesLayout)
			}
			return nil, fmt.Errorf("failed to back up tag %q from %q to %q: %w", t.tag, c.name, c.output, err)
		}
		if _, err := fmt.Fprintf(con.out, "Pulled tag %s with %d referrer(s)\n", t.tag, referrers); err != nil {
			return nil, err
		}
		done = append(done, newCopiedTag(t, referrers))
	}
	return done, nil
}

// What backup and restore share.

// parseTags is parse for commands that take a repository and any number of its
// tags.
func (t *target) parseTags(raw string) error {
	if strings.Contains(raw, "@") {
		return hint(fmt.Errorf("digest references are not supported: %q", raw), "Name tags behind the repository, as in name:tag1,tag2, or none for all it has")
	}
	return t.parse(raw)
}

// A taggedManifest is a tag and what it named when it was looked up.
type taggedManifest struct {
	tag  string
	root oras.Descriptor
}

// names lists the tags.
func names(tagged []taggedManifest) string {
	var list []string
	for _, t := range tagged {
		list = append(list, t.tag)
	}
	return strings.Join(list, ", ")
}

// maxLookups is how many tags are looked up at a time if nothing else is said.
const maxLookups = 64

// findTagged looks up tags in s, or all that it has if there are none, limit of
// them at a time, or some if it is negative.
func findTagged(ctx context.Context, s store, tags []string, limit int) ([]taggedManifest, error) {
	if len(tags) == 0 {
		err := s.Tags(ctx, "", func(page []string) error {
			tags = append(tags, page...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	tags = unique(tags)
	found := make([]taggedManifest, len(tags))
	g, ctx := errgroup.WithContext(ctx)
	if limit < 0 {
		limit = maxLookups
	}
	g.SetLimit(limit)
	for i, tag := range tags {
		g.Go(func() error {
			root, err := s.Resolve(ctx, tag)
			found[i] = taggedManifest{tag, root}
			return unresolved(tag, err)
		})
	}
	return found, g.Wait()
}

// unique returns tags in their order, each once.
func unique(tags []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(tags), func(tag string) bool {
		before := seen[tag]
		seen[tag] = true
		return before
	})
}

// unresolved says of which tag err is. That there is none is told in the same words
// wherever it was looked for.
func unresolved(tag string, err error) error {
	if err == nil {
		return nil
	}
	if oras.Kind(err) != oras.ErrNotFound {
		return fmt.Errorf("failed to resolve tag %q: %w", tag, err)
	}
	if strings.HasPrefix(err.Error(), tag+": ") { // a layout names it, too
		err = oras.ErrNotFound
	}
	return &prefixError{"Error:", fmt.Errorf("failed to resolve tag %q: %w", tag, err)}
}

// noTags is the error where there is nothing to back up or to restore; command
// lists tags.
func noTags(kind, name, command string) error {
	return hint(fmt.Errorf("no tags found in %s %q", kind, name),
		"If you want to list available tags in %q, use %q", name, command)
}

// countReferrers returns how many manifests in s have root for their subject, or a
// manifest in it, or one of those: what a copy with [oras.CopyOptions.Referrers]
// brings along.
func countReferrers(ctx context.Context, s oras.Source, root oras.Descriptor) (int, error) {
	count := 0
	queue := []oras.Descriptor{root}
	seen := map[digest.Digest]bool{}
	for len(queue) > 0 {
		node := queue[0]
		queue = queue[1:]
		if seen[node.Digest] || !oras.IsManifest(node.MediaType) {
			continue
		}
		seen[node.Digest] = true
		if oras.IsIndex(node.MediaType) {
			m, err := oras.ReadManifest(ctx, s, node)
			if err != nil {
				return 0, err
			}
			queue = append(queue, m.Manifests...)
		}
		err := oras.Referrers(ctx, s, node, "", func(referrers []oras.Descriptor) error {
			count += len(referrers) // each has one subject
			queue = append(queue, referrers...)
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return count, nil
}

// endedContent is the content that came to its end in one of several copies.
type endedContent map[transferKey]bool

// once returns next without the events of content that came to its end before: what
// one tag has in common with another is told of once.
func (c endedContent) once(next func(oras.Event)) func(oras.Event) {
	return func(e oras.Event) {
		key := transferKey{e.Descriptor.Digest, e.Name()}
		if !c[key] {
			c[key] = ended(e.Kind)
			next(e)
		}
	}
}

// byteSize returns n bytes in words, with up to three digits: "8.5 KB".
func byteSize(n int64) string {
	size, unit := float64(n), 0
	for size >= 1<<10 {
		size /= 1 << 10
		unit++
	}
	places := 2
	for limit := 10.0; size >= limit && places > 0; limit *= 10 {
		places--
	}
	scale := math.Pow10(places)
	return fmt.Sprint(math.Round(size*scale)/scale) + [...]string{" B", " KB", " MB", " GB", " TB", " PB", " EB"}[unit]
}
