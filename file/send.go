package file

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
)

// SendOptions say how [Store.Send] sends. The zero value works.
type SendOptions struct {
	// Journal, if it is not nil, remembers the upload, so that Send of the
	// same file or directory to the same target goes on with it, in another
	// process too; and what was sent, so that it is not sent again while the
	// target has it.
	Journal *Journal

	// Target is what the target is called, in the journal: text that no
	// other target has.
	Target string

	// Event, if it is not nil, is told Copying, Progress, and Copied or
	// Exists, one call at a time. The descriptors have the title, but as
	// long as they are not known neither digest nor size.
	Event func(oras.Event)
}

// sendMin is the size in bytes from which a file is sent while it is hashed. Hashing
// less takes no time, and then it can go together with others.
const sendMin = 8 << 20

// Send is [Store.Add] that sends the content to dst at the same time, in one pass: a
// directory is walked, packed, compressed, hashed and sent with no temporary file; a
// large file is sent while it is hashed, and no further once dst turns out to have
// it. It reports whether dst has the content now. Small files are only added, and so
// is everything if dst cannot take content of unknown digest: [oras.Copy] brings it
// then, and tells its events. What was sent should be left out of that copy; see
// [oras.CopyOptions].
//
// When sending fails it goes on at what has arrived, see [oras.Ingest], and after an
// error another Send does, if there is a journal. A directory that was sent is no
// content of the store; a file is.
func (s *Store) Send(ctx context.Context, dst oras.Target, title, path, mediaType string, opts *SendOptions) (desc oras.Descriptor, sent bool, err error) {
	if opts == nil {
		opts = &SendOptions{}
	}
	a, err := s.prepare(title, path, mediaType)
	if err != nil {
		return oras.Descriptor{}, false, err
	}
	defer a.done()
	if (a.info.IsDir() || a.info.Size() >= sendMin) && !oras.IsManifest(mediaType) {
		desc, err = s.send(ctx, dst, a, opts)
		if err == nil || !errors.Is(err, oras.ErrUnsupported) {
			return desc, err == nil, err
		}
	}
	desc, err = s.addPrepared(ctx, a)
	return desc, false, err
}

// A sending is something that is being sent.
type sending struct {
	store  *Store
	dst    oras.Target
	a      *adding
	opts   *SendOptions
	record *record
	told   bool // that it is copied
}

// send sends what was prepared, or is [oras.ErrUnsupported].
func (s *Store) send(ctx context.Context, dst oras.Target, a *adding, opts *SendOptions) (_ oras.Descriptor, err error) {
	x := &sending{store: s, dst: dst, a: a, opts: opts}
	if opts.Journal != nil {
		id, err := s.identity(a)
		if err != nil {
			return oras.Descriptor{}, err
		}
		x.record = opts.Journal.open(opts.Target + "\n" + id)
		defer func() { err = errors.Join(err, x.record.close()) }()
	}
	desc, err := x.there(ctx)
	if err == nil && desc.Digest == "" {
		desc, err = x.ingest(ctx)
	}
	if err != nil {
		return oras.Descriptor{}, err
	}
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return oras.Descriptor{}, err
	}
	x.record.sent(d)
	if a.info.IsDir() {
		return desc, s.remember(d, a.name)
	}
	return desc, s.add(d, content{desc: desc, path: a.path}, a.name)
}

// there returns the descriptor if dst has the content: if it has what was sent last
// time, and that is what would be sent now.
func (x *sending) there(ctx context.Context) (none oras.Descriptor, _ error) {
	last := x.record.digest()
	if last.IsZero() {
		return none, nil
	}
	exists, err := x.dst.Exists(ctx, oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: last.OCI()})
	if err != nil || !exists {
		return none, err
	}
	var desc oras.Descriptor
	if x.a.info.IsDir() {
		desc, err = x.store.packAndHash(ctx, io.Discard, x.a)
	} else {
		desc, err = describeFile(ctx, x.a.path)
	}
	if err != nil || desc.Digest != last.OCI() {
		return none, err
	}
	desc = x.a.describe(desc)
	x.event(oras.Event{Kind: oras.Exists, Descriptor: desc})
	return desc, nil
}

// ingest sends the content.
func (x *sending) ingest(ctx context.Context) (oras.Descriptor, error) {
	send := x.ingestFile
	if x.a.info.IsDir() {
		send = x.ingestDirectory
	}
	resumed := x.record.upload() != ""
	desc, last, err := send(ctx)
	if resumed && errors.Is(err, oras.ErrInvalid) {
		// What another process had sent was not the beginning of this.
		desc, last, err = send(ctx)
	}
	if err != nil {
		return oras.Descriptor{}, err
	}
	x.event(last)
	return desc, nil
}

// ingestFile sends a file, and returns with its descriptor the event that is still to
// be told.
func (x *sending) ingestFile(ctx context.Context) (_ oras.Descriptor, last oras.Event, err error) {
	f, err := os.Open(x.a.path)
	if err != nil {
		return oras.Descriptor{}, last, err
	}
	defer f.Close()
	opts := x.options(&last)
	opts.Digest = func(ctx context.Context) (oras.Digest, error) {
		desc, err := describeFile(ctx, x.a.path)
		if err != nil {
			return oras.Digest{}, err
		}
		return oras.ParseDigest(desc.Digest)
	}
	desc, err := oras.Ingest(ctx, x.dst, MediaTypeFile, f, opts)
	if err == nil || errors.Is(err, oras.ErrInvalid) {
		// What was hashed and what was sent may have been torn at the same place, so this
		// is looked at where all went well, too.
		if info, e := f.Stat(); e == nil && (info.Size() != x.a.info.Size() || !info.ModTime().Equal(x.a.info.ModTime())) {
			err = fmt.Errorf("%s: changed while it was sent: %w", x.a.path, cmp.Or(err, oras.ErrInvalid))
		}
	}
	desc = x.a.describe(desc)
	last.Descriptor = desc
	return desc, last, err
}

// ingestDirectory sends a directory, as ingestFile does.
func (x *sending) ingestDirectory(ctx context.Context) (_ oras.Descriptor, last oras.Event, err error) {
	r := &packer{ctx: ctx, pack: func(ctx context.Context, w io.Writer) (oras.Descriptor, error) {
		return x.store.pack(ctx, w, x.a)
	}}
	defer r.close()
	desc, err := oras.Ingest(ctx, x.dst, x.store.directoryType(), r, x.options(&last))
	if err != nil {
		return oras.Descriptor{}, last, err
	}
	r.close() // it has ended, and what it knows can be read
	desc.Annotations = maps.Clone(r.desc.Annotations)
	desc = x.a.describe(desc)
	last.Descriptor = desc
	return desc, last, nil
}

// options are those that all content is ingested with. Its end is not told at once,
// but kept in last.
func (x *sending) options(last *oras.Event) *oras.IngestOptions {
	opts := &oras.IngestOptions{Upload: x.record.upload()}
	if x.record != nil {
		opts.Journal = x.record.note
	}
	opts.Event = func(e oras.Event) {
		switch e.Kind {
		case oras.Copied, oras.Exists:
			*last = e
			return
		case oras.Copying:
			if x.told {
				return
			}
			x.told = true
		}
		e.Descriptor.Annotations = map[string]string{ocispec.AnnotationTitle: x.a.title}
		if x.a.mediaType != "" {
			e.Descriptor.MediaType = x.a.mediaType
		}
		x.event(e)
	}
	return opts
}

func (x *sending) event(e oras.Event) {
	if x.opts.Event != nil {
		x.opts.Event(e)
	}
}

// A packer is a reader of what pack writes, which begins with the first Read.
type packer struct {
	ctx  context.Context
	pack func(ctx context.Context, w io.Writer) (oras.Descriptor, error)

	begun  bool
	pipe   *io.PipeReader
	cancel context.CancelFunc
	done   sync.WaitGroup
	desc   oras.Descriptor // once it has ended
}

func (p *packer) Read(b []byte) (int, error) {
	if !p.begun {
		p.begun = true
		ctx, cancel := context.WithCancel(p.ctx)
		r, w := io.Pipe()
		p.pipe, p.cancel = r, cancel
		p.done.Go(func() {
			var err error
			p.desc, err = p.pack(ctx, w)
			w.CloseWithError(err)
		})
	}
	return p.pipe.Read(b)
}

// close ends packing, and waits for that.
func (p *packer) close() {
	if !p.begun {
		return
	}
	p.cancel()
	p.pipe.Close()
	p.done.Wait()
}

// A counter is a hash that knows how much was written to it.
type counter struct {
	hash.Hash
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Hash.Write(p)
}
