package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/file"
)

type pullCommand struct {
	commonFlags
	ttyFlags
	formatFlags
	transferFlags
	target
	platform       platformFlag
	keepOldFiles   bool
	pathTraversal  bool
	includeSubject bool
	output         string
	configRef      string
	concurrency    int
	unpackSize     int64
	unpackRatio    int64
}

func newPullCommand(con console) *cobra.Command {
	var c pullCommand
	cmd := &cobra.Command{
		Use:   "pull [flags] <name>{:<tag>|@<digest>}",
		Short: "Pull files from a registry or an OCI image layout",
		Long: `Pull files from a registry or an OCI image layout

Example - Pull the files of an artifact into the working directory:
  oras pull localhost:5000/hello:v1

Example - Pull into another directory, and leave files alone that are there:
  oras pull --output downloads --keep-old-files localhost:5000/hello:v1

Example - Pull large files; if that is broken off, by the network or a kill, the same command goes on where it stopped:
  oras pull localhost:5000/large:v1

Example - Pull the files of the subject, too, and of its subject:
  oras pull --include-subject localhost:5000/hello:v1

Example - Pull what is for a platform:
  oras pull --platform linux/arm/v5 localhost:5000/hello:v1

Example - Pull the config as well, into "config.json":
  oras pull --config config.json localhost:5000/hello:v1

Example - Pull and print what was written where as JSON, or a part of it:
  oras pull localhost:5000/hello:v1 --format json
  oras pull localhost:5000/hello:v1 --format go-template="{{.reference}}"

Example - Pull and print what happens, and in the end the result, as lines of JSON:
  oras pull localhost:5000/hello:v1 --format ndjson

Example - Pull 2 MiB a second at most, over one connection:
  oras pull --limit-rate 2M --connections 1 localhost:5000/hello:v1

Example - Pull from an OCI image layout, a directory or a tar archive:
  oras pull --oci-layout layout-dir:v1
  oras pull --oci-layout layout.tar:v1
`,
		Args: exactly(1, "the artifact reference you want to pull"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	flags := cmd.Flags()
	c.commonFlags.register(flags)
	c.ttyFlags.register(flags, "progress bars")
	c.formatFlags.registerTransfer(flags)
	c.target.register(flags, "", "")
	c.platform.register(flags, "platform", "request platform")
	flags.BoolVarP(&c.keepOldFiles, "keep-old-files", "k", false, "do not replace existing files when pulling, treat them as errors")
	flags.BoolVarP(&c.pathTraversal, "allow-path-traversal", "T", false, "allow storing files out of the output directory")
	flags.BoolVar(&c.includeSubject, "include-subject", false, "recursively pull the subject of artifacts")
	flags.StringVarP(&c.output, "output", "o", ".", "output directory")
	flags.StringVar(&c.configRef, "config", "", "output manifest config file")
	flags.IntVar(&c.concurrency, "concurrency", 3, "concurrency level")
	c.transferFlags.registerRead(flags)
	flags.Int64Var(&c.unpackSize, "unpack-size", 0, "`bytes` that a packed directory may unpack to; 0 is no limit")
	flags.Int64Var(&c.unpackRatio, "unpack-ratio", archive.DefaultMaxRatio, "`bytes` that a packed directory may unpack to for each of its own, beyond 256 MiB; -1 is no limit")
	flags.BoolP("all", "a", false, "pull all files") // older spelling of what is always done
	flags.Lookup("all").Hidden = true
	return cmd
}

func (c *pullCommand) run(cmd *cobra.Command, con console, raw string) error {
	ctx := cmd.Context()
	if err := firstError(c.parseFormat, c.platform.parse,
		func() error { return c.requireOne(cmd, raw) }, c.checkOutput); err != nil {
		return err
	}
	con = c.formatFlags.console(con)
	p := &pull{command: c, skipped: map[string]bool{}, out: newTextOutput(con, &c.formatFlags, &c.commonFlags, pullVerbs)}
	if c.configRef != "" {
		var err error
		if p.configPath, p.configType, err = parseFile(c.configRef, ""); err != nil {
			return err
		}
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
	desc, err := p.copy(ctx, src)
	if err != nil {
		return resumable(c.explain(env, err), p.out.hasPart(c.output, os.Getenv(cacheVariable)), resumesInContent)
	}
	return unprinted(c.formatFlags.write(con.out, p.result(desc)))
}

// checkOutput reports an output directory that is none.
func (c *pullCommand) checkOutput() error {
	info, err := os.Stat(c.output)
	if errors.Is(err, syscall.ENOTDIR) || err == nil && !info.IsDir() {
		return hint(fmt.Errorf("--output %s: %w", c.output, syscall.ENOTDIR), "Files are pulled into a directory, which is made if it is not there; each has its own name in it")
	}
	return nil
}

// explain makes an error of the copy say what the store alone cannot.
func (c *pullCommand) explain(env *environment, err error) error {
	var side *oras.CopyError
	if errors.As(err, &side) && side.AtTarget { // of the files
		switch {
		case isFull(err):
			return withHint(err, "Make room there and run the same command again, or name another directory with --output")
		case cannotWrite(err):
			return withHint(err, "You may not write there: change that, or name another directory with --output")
		}
		return err
	}
	if c.isLayout() && errors.Is(err, oras.ErrInvalid) && strings.HasPrefix(err.Error(), "sha") { // a digest, and no name
		err = fmt.Errorf("%s: %w", c.name, err)
	}
	return c.target.explain(env, err)
}

// A pull is one run of the command.
type pull struct {
	command                *pullCommand
	configPath, configType string
	out                    *textOutput

	mu      sync.Mutex
	files   []pulledFile
	skipped map[string]bool // content without a name that was told of
	unnamed bool            // there is such content, other than manifests
	named   bool            // the config got its name
}

func (p *pull) copy(ctx context.Context, src store) (oras.Descriptor, error) {
	c := p.command
	dst, err := file.New(c.output, &file.Options{
		Stage:        true,
		KeepOldFiles: c.keepOldFiles, AllowPathTraversal: c.pathTraversal,
		MaxUnpackedSize: c.unpackSize, MaxUnpackedRatio: c.unpackRatio,
	})
	if err != nil {
		return oras.Descriptor{}, err
	}
	desc, err := oras.Copy(ctx, src, c.reference(), dst, &oras.CopyOptions{
		Concurrency: concurrency(c.concurrency),
		Platform:    c.platform.platform,
		Children:    p.children,
		Event:       p.out.event,
	})
	if err == nil {
		if err = dst.Commit(ctx); err != nil {
			err = &oras.CopyError{AtTarget: true, Err: err}
		}
	}
	return desc, errors.Join(err, dst.Close())
}

// children chooses what becomes files: what has a name, and what leads to it.
func (p *pull) children(_ oras.Descriptor, m *oras.Manifest) []oras.Descriptor {
	p.mu.Lock()
	defer p.mu.Unlock()
	var children []oras.Descriptor
	for _, child := range m.Children() {
		title := child.Annotations[ocispec.AnnotationTitle]
		switch {
		case m.Subject != nil && child.Digest == m.Subject.Digest:
			if !p.command.includeSubject {
				continue
			}
		case m.Config != nil && child.Digest == m.Config.Digest && child.MediaType == m.Config.MediaType && title == "":
			if p.configPath != "" && !p.named && (p.configType == "" || p.configType == child.MediaType) {
				p.named = true
				title = p.configPath
				child.Annotations = merge(map[string]string{ocispec.AnnotationTitle: title}, child.Annotations)
			}
		case title != "":
			p.files = append(p.files, p.file(title, child))
		}
		if title == "" {
			if child.Digest == oras.Empty().Digest {
				continue
			}
			if !oras.IsManifest(child.MediaType) {
				p.unnamed = true
				p.skip(child)
				continue
			}
		}
		children = append(children, child)
	}
	return children
}

func (p *pull) skip(desc oras.Descriptor) {
	key := string(desc.Digest) + " " + desc.MediaType
	if !p.skipped[key] {
		p.skipped[key] = true
		p.out.event(oras.Event{Kind: oras.Skipped, Descriptor: desc})
	}
}

// pullResult is what pull prints.
type pullResult struct {
	Reference string       `json:"reference"`
	Files     []pulledFile `json:"files"`

	target  *target
	digest  string
	skipped bool
}

type pulledFile struct {
	Path string `json:"path"`
	discovered
}

func (p *pull) file(title string, desc oras.Descriptor) pulledFile {
	path := title
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.command.output, filepath.FromSlash(title))
	}
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	return pulledFile{path, newDiscovered(&p.command.target, desc)}
}

func (p *pull) result(desc oras.Descriptor) *pullResult {
	files := p.files
	if files == nil {
		files = []pulledFile{}
	}
	return &pullResult{
		Reference: p.command.at(desc), Files: files,
		target: &p.command.target, digest: string(desc.Digest), skipped: p.unnamed,
	}
}

func (r *pullResult) text(w io.Writer) error {
	if r.skipped {
		fmt.Fprintf(w, "Skipped pulling layers without file name in %q\n", ocispec.AnnotationTitle)
		_, err := fmt.Fprintf(w, "Use 'oras copy %s --to-oci-layout <layout-dir>' to pull all layers.\n", r.target.raw)
		return err
	}
	fmt.Fprintln(w, "Pulled", r.target)
	_, err := fmt.Fprintln(w, "Digest:", r.digest)
	return err
}
