package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

type blobPushCommand struct {
	commonFlags
	ttyFlags
	transferFlags
	target
	pretty     bool
	descriptor bool
	mediaType  string
	size       int64
}

func newBlobPushCommand(con console) *cobra.Command {
	var c blobPushCommand
	cmd := &cobra.Command{
		Use:   "push [flags] <name>[@digest] <file>",
		Short: "Push a blob to a registry or an OCI image layout",
		Long: `Push a blob to a registry or an OCI image layout

When a large file was broken off, the same command goes on where it stopped; standard input begins anew.

Example - Push the file "hi.txt" as a blob:
  oras blob push localhost:5000/hello hi.txt

Example - Push it only if it has the digest that is expected of it:
  oras blob push localhost:5000/hello@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a hi.txt

Example - Push from standard input, whose size and digest must be said:
  oras blob push --size 2 localhost:5000/hello@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a -

Example - Push and print the descriptor, with a media type of its own:
  oras blob push --descriptor --media-type application/vnd.me.hi localhost:5000/hello hi.txt

Example - Push into the OCI image layout directory "layout-dir":
  oras blob push --oci-layout layout-dir hi.txt
`,
		Args: exactly(2, "the destination to push to and the file to read blob content from"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0], args[1]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.ttyFlags.register(fs, "progress bars")
	c.target.register(fs, "", "")
	c.transferFlags.registerLimit(fs)
	fs.BoolVar(&c.pretty, "pretty", false, "prettify JSON objects printed to stdout")
	fs.BoolVar(&c.descriptor, "descriptor", false, "output the descriptor of the blob")
	fs.StringVar(&c.mediaType, "media-type", oras.MediaTypeLayer, "specify the returned media type in the descriptor if --descriptor is used")
	fs.Int64Var(&c.size, "size", -1, "provide the blob size")
	return cmd
}

func (c *blobPushCommand) run(cmd *cobra.Command, con console, raw, path string) error {
	ctx := cmd.Context()
	if err := firstError(func() error { return c.checkStdin(path) }, func() error { return c.parse(raw) }); err != nil {
		return err
	}
	switch {
	case len(c.tags) > 0 && c.layoutPath == "": // beside a path, the reference is but a name
		return hint(fmt.Errorf("%q: a blob cannot have a tag", raw), "Leave it out, or say the digest that is expected: <name>@<digest>")
	case path == "-" && c.size < 0:
		return errors.New("`--size` must be provided if the blob is read from stdin")
	case path == "-" && c.digest.IsZero(): // so that nothing has to be kept before it is sent
		return hint(errors.New("the digest must be provided if the blob is read from stdin"), "Please specify the destination in the form of <name>@<digest>")
	}
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	env.transfer = c.transferFlags
	content, desc, err := c.open(ctx, con, path)
	if err != nil {
		return err
	}
	defer content.Close()
	dst, err := c.openWrite(ctx, env)
	if err != nil {
		return err
	}
	out := newTextOutput(con, nil, &c.commonFlags, pushVerbs)
	if c.descriptor {
		out.status = nil
	}
	uploads := &blobUploads{}
	if _, ok := content.(io.Seeker); ok {
		uploads = openBlobUploads(&c.target)
		defer uploads.Close()
	}
	_, err = oras.Copy(ctx, &oneBlob{desc, content}, string(desc.Digest), dst, &oras.CopyOptions{
		Journal: uploads.record,
		Event: func(e oras.Event) {
			e.Descriptor = desc
			out.event(e)
		},
	})
	if err != nil {
		if errors.Is(err, oras.ErrInvalid) && path == "-" {
			err = hint(err, "Nothing is stored: the digest and --size must be those of what standard input gives")
		} else if errors.Is(err, oras.ErrInvalid) {
			err = hint(err, changesFile)
		}
		goesOn := uploads.open.Load() > 0 || c.isLayout() && out.hasPart(c.name)
		return resumable(c.explain(env, err), goesOn, resumesInContent)
	}
	if c.descriptor {
		return writeCompact(con.out, desc, c.pretty)
	}
	fmt.Fprintln(con.out, "Pushed:", c.target.String())
	_, err = fmt.Fprintln(con.out, "Digest:", desc.Digest)
	return err
}

// open opens the content and returns its descriptor, checked against what the
// flags and the reference say.
func (c *blobPushCommand) open(ctx context.Context, con console, path string) (io.ReadCloser, oras.Descriptor, error) {
	desc := oras.Descriptor{MediaType: c.mediaType, Digest: c.digest.OCI(), Size: c.size}
	if path == "-" {
		return io.NopCloser(con.stdin(ctx)), desc, nil // the push verifies it
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, desc, withHint(fmt.Errorf("failed to read %s: %w", path, cause(err)), missingFile(err))
	}
	if err := c.describe(file, &desc); err != nil {
		file.Close()
		return nil, desc, err
	}
	return file, desc, nil
}

// describe completes desc with what file holds, and rewinds it.
func (c *blobPushCommand) describe(file *os.File, desc *oras.Descriptor) error {
	algorithm := oras.SHA256
	if !c.digest.IsZero() {
		algorithm = c.digest.Algorithm()
	}
	h := algorithm.New()
	n, err := io.Copy(h, file)
	if err != nil {
		return err
	}
	digest := algorithm.Sum(h)
	if c.size >= 0 && c.size != n {
		return hint(fmt.Errorf("input size %d does not match the actual content size %d", c.size, n), "Push another file, or leave out --size")
	}
	if !c.digest.IsZero() && digest != c.digest {
		return hint(fmt.Errorf("%s: input digest %s does not match the actual content digest %s", file.Name(), c.digest, digest),
			"Push another file, or leave out the digest: it is printed in the end")
	}
	desc.Digest, desc.Size = digest.OCI(), n
	_, err = file.Seek(0, io.SeekStart)
	return err
}

// A oneBlob is the source of one blob, that is no manifest whatever its media type. Unless
// its content is an io.Seeker it can be read once.
type oneBlob struct {
	desc    oras.Descriptor
	content io.Reader
}

func (b *oneBlob) Resolve(context.Context, string) (oras.Descriptor, error) {
	return oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: b.desc.Digest, Size: b.desc.Size}, nil
}

func (b *oneBlob) Exists(_ context.Context, target oras.Descriptor) (bool, error) {
	return target.Digest == b.desc.Digest, nil
}

func (b *oneBlob) Fetch(context.Context, oras.Descriptor) (io.ReadCloser, error) {
	seeker, ok := b.content.(io.ReadSeeker)
	if !ok {
		return io.NopCloser(b.content), nil
	}
	_, err := seeker.Seek(0, io.SeekStart)
	return unclosed{seeker}, err
}

// unclosed is content that its user does not close.
type unclosed struct{ io.ReadSeeker }

func (unclosed) Close() error { return nil }
