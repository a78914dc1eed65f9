package oras

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// CopyOptions say how [Copy] copies. The zero value copies one graph of content
// and tags nothing.
type CopyOptions struct {
	// Tags are what the copy is called at the target.
	Tags []string

	// Concurrency is how many pieces of content move at a time; zero means
	// 3, a negative number as many as there are, up to 1024. Where it is more
	// than one, four times as many small ones do, of up to 64 KiB, since they
	// take their time in waiting for answers, not in moving; and up to 32 where
	// that turns out to be faster.
	Concurrency int

	// Platform chooses one manifest of an index, or checks that the one
	// manifest is for it; see SelectPlatform.
	Platform *Platform

	// Referrers asks for the manifests, too, whose subject is the root or a
	// manifest in it, for the referrers of those, and so on. What is copied
	// only since it is the subject of something copied brings no more.
	Referrers bool

	// MountFrom is the name of a repository in the target's registry that
	// may hold the content already; see Mount.
	MountFrom string

	// Children, if it is not nil, chooses which of the manifest's children
	// are copied with it, and before it. By default all are, but not the
	// layers that are only to be had elsewhere. It is called from several
	// goroutines at a time.
	Children func(desc Descriptor, m *Manifest) []Descriptor

	// Journal, if it is not nil, is asked for what is remembered of the upload
	// of a large blob to a target that has uploads, so that the copy of one
	// that was broken off, be it by the end of the process, goes on in its
	// middle when it is made again: the source's reader is seeked there. The
	// target verifies the whole at its Commit, which is not done here, too. It
	// returns nil if there is nothing to be remembered of it; it is called from
	// several goroutines at a time.
	Journal func(desc Descriptor) *UploadRecord

	// Event, if it is not nil, is told what happens, one call at a time.
	// Copying waits for it to return.
	Event func(Event)
}

// An UploadRecord is what is remembered of the upload of one blob to one target.
type UploadRecord struct {
	Upload string          // the id of one to go on with, or empty
	Note   func(id string) // see IngestOptions.Journal
	Close  func()          // is called when nothing more is to be noted
}

const (
	defaultConcurrency = 3
	maxConcurrency     = 1 << 10 // more would only wait for the network
)

// Limits on what a registry could make endless.
const (
	maxDepth     = 100 // of manifests in manifests, subjects among them, and of referrers of referrers
	maxReferrers = 1_000_000
)

// A CopyError says at which end a copy failed.
type CopyError struct {
	AtTarget bool // or else at the source
	Err      error
}

func (e *CopyError) Error() string { return e.Err.Error() }
func (e *CopyError) Unwrap() error { return e.Err }

func atSource(err error) error { return copyError(err, false) }
func atTarget(err error) error { return copyError(err, true) }

func copyError(err error, target bool) error {
	var known *CopyError
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &CopyError{AtTarget: target, Err: err}
}

// Copy copies what reference, a tag or a digest, names in src, and all content
// below it, to dst. It returns the descriptor of what was copied.
//
// Children are copied before the manifests that hold them, referrers after their
// subject, and the tags are set last, so that at no time dst has a name for what
// is not complete. What dst has is not copied; that it has a manifest means that
// it has what is below, unless dst says that some of that is lost, as a layout can. Where
// dst is far away, small blobs are sent without asking for them as long as the last ones
// were not there. All content is verified on
// its way, or by the target, where its upload is remembered. The first error ends the
// copy; what was copied until then stays, and copying again goes on there. Errors are a
// [*CopyError], but for that of a context which was cancelled: its cause.
//
// What a source could make endless is [ErrInvalid]: manifests that lie in each
// other, and referrers of referrers, more than 100 deep, and more than a million
// referrers.
func Copy(ctx context.Context, src Source, reference string, dst Target, opts *CopyOptions) (Descriptor, error) {
	if opts == nil {
		opts = &CopyOptions{}
	}
	c := &copier{src: src, dst: dst, opts: *opts, nodes: map[nodeKey]*node{}, named: map[name]*namedNode{}, referrers: map[digest.Digest]bool{}}
	switch {
	case opts.Concurrency == 0:
		c.limit = defaultConcurrency
	case opts.Concurrency < 0 || opts.Concurrency > maxConcurrency:
		c.limit = maxConcurrency
	default:
		c.limit = opts.Concurrency
	}
	c.asking.never = !hasUploads(dst)
	c.slots = make(chan struct{}, c.limit)
	least, most := 1, 1
	if c.limit > 1 {
		least = min(smallForEach*c.limit, maxConcurrency)
		most = max(least, smallAtOnce)
	}
	c.small = newSmallSlots(least, most)
	c.walkers = make(chan struct{}, 4*c.limit)

	ctx, c.cancel = context.WithCancelCause(ctx)
	defer c.cancel(nil)
	root, err := c.run(ctx, reference)
	if err != nil {
		c.cancel(err) // unless there is an earlier reason, which is the one to tell
		return Descriptor{}, context.Cause(ctx)
	}
	return root, nil
}

// A copier is one call of Copy.
type copier struct {
	src   Source
	dst   Target
	opts  CopyOptions
	limit int
	slots chan struct{} // one place for each piece of content that may move at a time
	small *smallSlots   // likewise for small pieces, and questions, where there is more than one

	// One place for each manifest that may have a goroutine of its own.
	// Indexes need some for those above what moves.
	walkers chan struct{}

	cancel context.CancelCauseFunc // ends all there is under way

	root       Digest
	rootData   []byte // of a manifest, where resolving gave it
	rootTag    string // what the root is pushed as
	rootTagged bool

	mu    sync.Mutex
	nodes map[nodeKey]*node
	named map[name]*namedNode // all that were met

	asking asking

	told      int                    // how many referrers the source told of, again and again perhaps
	referrers map[digest.Digest]bool // which

	events sync.Mutex
}

// A node is content that is copied, once, for all who need it.
type node struct {
	done      chan struct{}
	err       error        // once done is closed
	manifests []Descriptor // in it, without its subject, if their referrers are copied; once done is closed
}

// A namedNode is content under one of its names: the first under which it is copied,
// or another that the target is to have for it too.
type namedNode struct {
	node
	taken bool // somebody sees to it; of copier.mu
}

// A nodeKey tells nodes apart. Registries keep manifests apart from blobs, so the
// same bytes can be needed as both.
type nodeKey struct {
	digest   Digest
	manifest bool
}

func keyOf(d Digest, desc Descriptor) nodeKey { return nodeKey{d, IsManifest(desc.MediaType)} }

type name struct {
	digest Digest
	name   string
}

func (c *copier) run(ctx context.Context, reference string) (Descriptor, error) {
	root, err := c.resolve(ctx, reference)
	if err != nil {
		return root, atSource(err)
	}
	tags := c.opts.Tags
	if len(tags) > 0 && !c.opts.Referrers {
		c.rootTag = tags[0]
	}
	if err := c.copyGraph(ctx, root, 0); err != nil {
		return root, err
	}
	if c.opts.Referrers {
		if err := c.copyReferrers(ctx, root); err != nil {
			return root, err
		}
	}
	if c.rootTagged {
		tags = tags[1:]
	}
	for _, tag := range tags {
		if err := c.dst.Tag(ctx, plain(root), tag); err != nil {
			return root, atTarget(fmt.Errorf("tag %s: %w", tag, err))
		}
	}
	return root, nil
}

// resolve finds the root. Where the source can give the content in the same
// step, that of a manifest is kept.
func (c *copier) resolve(ctx context.Context, reference string) (Descriptor, error) {
	root, content, err := FetchTagged(ctx, c.src, reference)
	if err != nil {
		return Descriptor{}, err
	}
	defer content.Close()
	if IsManifest(root.MediaType) {
		if c.rootData, err = ReadAll(content, root); err != nil {
			return Descriptor{}, err
		}
	}
	if c.opts.Platform != nil {
		if !IsManifest(root.MediaType) {
			return Descriptor{}, noPlatforms(root)
		}
		m, err := ParseManifest(root.MediaType, c.rootData)
		if err != nil {
			return Descriptor{}, fmt.Errorf("%s: %w", root.Digest, err)
		}
		selected, err := selectPlatform(ctx, c.src, root, m, c.opts.Platform)
		if err != nil {
			return Descriptor{}, err
		}
		if selected.Digest != root.Digest {
			root, c.rootData = selected, nil
		}
	}
	c.root, err = ParseDigest(root.Digest)
	return root, err
}

// copyGraph copies desc, which lies depth manifests below where copying began, and
// all below it, unless that is done or being done.
func (c *copier) copyGraph(ctx context.Context, desc Descriptor, depth int) error {
	d, err := ParseDigest(desc.Digest)
	if err != nil {
		return atSource(err)
	}
	if depth > maxDepth && IsManifest(desc.MediaType) {
		return atSource(fmt.Errorf("%s: manifests in manifests to a depth of more than %d: %w", d, maxDepth, ErrInvalid))
	}
	c.mu.Lock()
	named := c.meet(name{d, contentName(desc)})
	first := !named.taken
	named.taken = true
	n, started := c.nodes[keyOf(d, desc)]
	if !started {
		n = &node{done: make(chan struct{})}
		c.nodes[keyOf(d, desc)] = n
	}
	c.mu.Unlock()

	switch {
	case !started:
		n.err = c.copyFirst(ctx, n, d, desc, depth)
		err = n.err
		close(n.done)
	case first:
		if err = n.wait(ctx); err == nil {
			err = c.copyAgain(ctx, desc)
		}
	default:
		return named.wait(ctx)
	}
	if first {
		named.err = err
		close(named.done)
	}
	return err
}

// meet returns the node of what is copied under a name. The caller holds c.mu.
func (c *copier) meet(key name) *namedNode {
	n := c.named[key]
	if n == nil {
		n = &namedNode{node: node{done: make(chan struct{})}}
		c.named[key] = n
	}
	return n
}

// wait waits until the node is copied. Nobody waits for who waits for them: a node
// waits for what is below it.
func (n *node) wait(ctx context.Context) error {
	select {
	case <-n.done:
		return n.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// copyFirst copies content that this copy has not met before.
func (c *copier) copyFirst(ctx context.Context, n *node, d Digest, desc Descriptor, depth int) error {
	exists, err := c.existsFirst(ctx, desc)
	if err != nil {
		return err
	}
	if !IsManifest(desc.MediaType) {
		if exists {
			c.event(Exists, desc, 0)
			return nil
		}
		return c.slot(ctx, desc.Size, func() error { return c.copyBlob(ctx, desc) })
	}
	if exists && !(c.opts.Referrers && IsIndex(desc.MediaType)) {
		lost, err := c.lost(ctx, desc)
		if err != nil {
			return err
		}
		if !lost {
			c.event(Exists, desc, 0)
			return nil
		}
		exists = false
	}
	data, m, err := c.readManifest(ctx, d, desc)
	if err != nil {
		return atSource(err)
	}
	children := c.children(desc, m)
	if c.opts.Referrers {
		held := heldManifests(m, children)
		for _, h := range held {
			n.manifests = append(n.manifests, plain(h))
		}
		if exists { // and is read only since its manifests may have new referrers
			children = held
		}
	}
	if err := c.copyAll(ctx, children, depth+1); err != nil {
		return err
	}
	if exists {
		c.event(Exists, desc, 0)
		return nil
	}
	return c.slot(ctx, desc.Size, func() error { return c.pushManifest(ctx, d, desc, data) })
}

// copyAll copies nodes and all below them; the first error is ctx's end. Manifests
// get goroutines of their own while there are walkers left, and else are walked
// in this one. So neither the number of goroutines nor that of manifests in
// memory grows with the ways there are through the graph, and nobody waits for
// a place that is held by who waits for them. Blobs share as many goroutines as can
// move at a time: one for each would grow a stack of its own.
func (c *copier) copyAll(ctx context.Context, nodes []Descriptor, depth int) error {
	c.found(nodes)
	walk := func(desc Descriptor) {
		if err := c.copyGraph(ctx, desc, depth); err != nil {
			c.cancel(err)
		}
	}
	var g sync.WaitGroup
	blobs := make(chan Descriptor)
	workers := 0
	for _, desc := range nodes {
		if ctx.Err() != nil {
			break
		}
		if IsManifest(desc.MediaType) {
			select {
			case c.walkers <- struct{}{}:
				g.Go(func() {
					defer func() { <-c.walkers }()
					walk(desc)
				})
			default:
				walk(desc)
			}
			continue
		}
		select {
		case blobs <- desc: // there is one that has nothing to do
			continue
		default:
		}
		if workers < c.small.most {
			workers++
			g.Go(func() {
				walk(desc)
				for desc := range blobs {
					walk(desc)
				}
			})
			continue
		}
		blobs <- desc
	}
	close(blobs)
	g.Wait()
	return context.Cause(ctx)
}

// found tells of those nodes that were not met before.
func (c *copier) found(nodes []Descriptor) {
	if c.opts.Event == nil {
		return
	}
	c.mu.Lock() // until all are told, so that nothing else is told of them before
	defer c.mu.Unlock()
	for _, desc := range nodes {
		d, err := ParseDigest(desc.Digest)
		if err != nil {
			continue // copying it says so
		}
		key := name{d, contentName(desc)}
		if c.named[key] == nil {
			c.meet(key)
			c.event(Found, desc, 0)
		}
	}
}

// heldManifests returns the manifests among the children of m that it holds, and
// does not only have for its subject.
func heldManifests(m *Manifest, children []Descriptor) []Descriptor {
	without := *m
	without.Subject = nil
	holds := map[digest.Digest]bool{}
	for _, child := range without.Children() {
		holds[child.Digest] = true
	}
	var held []Descriptor
	for _, child := range children {
		if holds[child.Digest] && IsManifest(child.MediaType) {
			held = append(held, child)
		}
	}
	return held
}

func (c *copier) children(desc Descriptor, m *Manifest) []Descriptor {
	if c.opts.Children != nil {
		return c.opts.Children(desc, m)
	}
	var children []Descriptor
	for _, child := range m.Children() {
		switch child.MediaType {
		case "application/vnd.oci.image.layer.nondistributable.v1.tar",
			"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
			"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
			"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":
			continue // their bytes are where their URLs say, not in a registry
		}
		children = append(children, child)
	}
	return children
}

func (c *copier) readManifest(ctx context.Context, d Digest, desc Descriptor) ([]byte, *Manifest, error) {
	c.event(Reading, desc, 0)
	data := c.rootData
	if d != c.root || data == nil {
		err := c.slot(ctx, desc.Size, func() (err error) {
			data, err = FetchAll(ctx, c.src, desc)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
	}
	m, err := ParseManifest(desc.MediaType, data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	c.event(Read, desc, 0)
	return data, m, nil
}

func (c *copier) pushManifest(ctx context.Context, d Digest, desc Descriptor, data []byte) error {
	c.event(Copying, desc, 0)
	var err error
	if d == c.root && c.rootTag != "" {
		err = PushTagged(ctx, c.dst, plain(desc), bytes.NewReader(data), c.rootTag)
		c.rootTagged = err == nil
	} else {
		err = Push(ctx, c.dst, plain(desc), bytes.NewReader(data))
	}
	if err != nil {
		return atTarget(err)
	}
	c.event(Progress, desc, desc.Size)
	c.event(Copied, desc, 0)
	return nil
}

func (c *copier) copyBlob(ctx context.Context, desc Descriptor) error {
	begin := sync.OnceFunc(func() { c.event(Copying, desc, 0) })
	opened, err := c.ingestBlob(ctx, desc, begin)
	if !errors.Is(err, errNotIngested) {
		return err
	}
	var content *verifier // once it was opened
	err = c.pushBlob(ctx, desc, func() (io.ReadCloser, error) {
		r := opened
		if opened = nil; r == nil {
			var err error
			if r, err = c.open(ctx, desc); err != nil {
				return nil, atSource(err)
			}
		}
		begin()
		r, content = verified(r, desc, func(read, there int64) {
			c.tell(Event{Kind: Progress, Descriptor: desc, Bytes: read, There: there})
		})
		return r, nil
	})
	if opened != nil { // and was not wanted
		opened.Close()
	}
	switch {
	case content != nil && content.stop() && err != nil: // stop in any case
		return atSource(err)
	case err != nil:
		return atTarget(err)
	case content == nil:
		c.event(Mounted, desc, 0)
	default:
		c.event(Copied, desc, 0)
	}
	return nil
}

// errNotIngested says that a blob is to be pushed as a whole.
var errNotIngested = errors.New("not sent in an upload that is remembered")

// ingestBlob copies a large blob in an upload that another copy goes on with, where
// there is a journal and the target has uploads, or returns errNotIngested, and with it
// the content where it was opened for nothing.
func (c *copier) ingestBlob(ctx context.Context, desc Descriptor, begin func()) (unread io.ReadCloser, err error) {
	if c.opts.Journal == nil || desc.Size <= ingestPiece || !hasUploads(c.dst) {
		return nil, errNotIngested
	}
	record := c.opts.Journal(desc)
	if record == nil {
		return nil, errNotIngested
	}
	defer record.Close()
	if c.opts.MountFrom != "" {
		err := Mount(ctx, c.dst, desc, c.opts.MountFrom, func() (io.ReadCloser, error) { return nil, errNotIngested })
		if err == nil {
			c.event(Mounted, desc, 0)
		}
		if !errors.Is(err, errNotIngested) {
			return nil, atTarget(err)
		}
	}
	content, err := c.open(ctx, desc)
	if err != nil {
		return nil, atSource(err)
	}
	if _, ok := content.(io.Seeker); !ok {
		return content, errNotIngested
	}
	defer content.Close()
	opts := &IngestOptions{Expected: desc, Upload: record.Upload, Journal: record.Note, Event: func(e Event) {
		if e.Kind == Copying {
			begin()
			return
		}
		e.Descriptor = desc
		c.tell(e)
	}}
	_, err = Ingest(ctx, c.dst, desc.MediaType, content, opts)
	if opts.Upload != "" && errors.Is(err, ErrInvalid) && !isContentError(err) {
		// What the upload had was not the beginning of this.
		opts.Upload = ""
		if _, err := content.(io.Seeker).Seek(0, io.SeekStart); err != nil {
			return nil, atSource(err)
		}
		_, err = Ingest(ctx, c.dst, desc.MediaType, content, opts)
	}
	if errors.Is(err, ErrInvalid) && !isContentError(err) {
		// Is that so since it had other bytes before it came to the target?
		if e := verifyAll(ctx, content, desc); errors.Is(e, ErrInvalid) {
			return nil, atSource(e)
		}
	}
	switch {
	case isContentError(err):
		return nil, atSource(err)
	case errors.Is(err, ErrUnsupported): // it takes no chunks, say
		return nil, errNotIngested
	}
	return nil, atTarget(err)
}

// verifyAll reads content, an io.Seeker, from its start and verifies it.
func verifyAll(ctx context.Context, content io.Reader, desc Descriptor) error {
	if _, err := content.(io.Seeker).Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, NewVerifier(doneReader{ctx, content}, desc), make([]byte, continueBuffer))
	return err
}

func (c *copier) pushBlob(ctx context.Context, desc Descriptor, open func() (io.ReadCloser, error)) error {
	if c.opts.MountFrom != "" {
		return Mount(ctx, c.dst, desc, c.opts.MountFrom, open)
	}
	content, err := open()
	if err != nil {
		return err
	}
	defer content.Close()
	return Push(ctx, c.dst, desc, content)
}

// copyAgain deals with content that the target was given under another name.
// Most targets have one place for it; one that keeps names, such as a
// directory of files, gets its own bytes back under this one.
func (c *copier) copyAgain(ctx context.Context, desc Descriptor) error {
	exists, err := c.exists(ctx, desc)
	if err != nil {
		return err
	}
	if exists {
		c.event(Skipped, desc, 0)
		return nil
	}
	return c.slot(ctx, desc.Size, func() error {
		content, err := c.dst.Fetch(ctx, desc)
		if err != nil {
			return atTarget(err)
		}
		defer content.Close()
		if err := Push(ctx, c.dst, desc, content); err != nil {
			return atTarget(err)
		}
		c.event(Restored, desc, 0)
		return nil
	})
}

// copyReferrers copies the referrers of root, of the manifests in it, and of what
// it copies itself, level by level.
func (c *copier) copyReferrers(ctx context.Context, root Descriptor) error {
	seen := map[nodeKey]bool{}
	subjects := c.withManifests(nil, root, seen)
	for depth := 0; len(subjects) > 0; depth++ {
		if depth == maxDepth {
			return atSource(fmt.Errorf("%s: referrers of referrers to a depth of more than %d: %w", root.Digest, maxDepth, ErrInvalid))
		}
		referrers, err := c.copyReferrersOf(ctx, subjects)
		if err != nil {
			return err
		}
		subjects = nil
		for _, r := range referrers {
			subjects = c.withManifests(subjects, r, seen)
		}
	}
	return nil
}

// withManifests appends desc, which was copied, and the manifests in it to list,
// but for those seen before.
func (c *copier) withManifests(list []Descriptor, desc Descriptor, seen map[nodeKey]bool) []Descriptor {
	d, err := ParseDigest(desc.Digest)
	key := keyOf(d, desc)
	if err != nil || !key.manifest || seen[key] {
		return list
	}
	seen[key] = true
	list = append(list, desc)
	for _, m := range c.nodes[key].manifests {
		list = c.withManifests(list, m, seen)
	}
	return list
}

// copyReferrersOf copies the referrers of subjects and returns those that the
// source told of for the first time.
func (c *copier) copyReferrersOf(ctx context.Context, subjects []Descriptor) ([]Descriptor, error) {
	var (
		g   errgroup.Group
		mu  sync.Mutex
		all []Descriptor
	)
	g.SetLimit(c.limit)
	for _, subject := range subjects {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			err := Referrers(ctx, c.src, subject, "", func(referrers []Descriptor) error {
				fresh, err := c.toldFirst(referrers)
				if err != nil {
					return err
				}
				mu.Lock()
				for _, r := range fresh {
					all = append(all, plain(r))
				}
				mu.Unlock()
				return c.copyAll(ctx, fresh, 0)
			})
			if err != nil {
				c.cancel(atSource(err))
			}
			return err
		})
	}
	g.Wait()
	return all, context.Cause(ctx)
}

// toldFirst counts referrers that the source tells of and returns those it did
// not tell of before.
func (c *copier) toldFirst(referrers []Descriptor) ([]Descriptor, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told += len(referrers)
	if c.told > maxReferrers {
		return nil, fmt.Errorf("more than %d referrers: %w", maxReferrers, ErrInvalid)
	}
	var fresh []Descriptor
	for _, r := range referrers {
		if !c.referrers[r.Digest] {
			c.referrers[r.Digest] = true
			fresh = append(fresh, r)
		}
	}
	return fresh, nil
}

// existsFirst reports whether the target has content that this copy has not met
// before. Where that is not worth asking it has not.
func (c *copier) existsFirst(ctx context.Context, desc Descriptor) (bool, error) {
	if IsManifest(desc.MediaType) {
		return c.exists(ctx, desc)
	}
	exists, asked := false, false
	err := c.slot(ctx, 0, func() (err error) {
		if desc.Size <= smallBlob && c.asking.needless() { // which may have turned out while there was no place
			return nil
		}
		asked = true
		exists, err = c.dst.Exists(ctx, desc)
		return atTarget(err)
	})
	if err == nil && asked {
		c.asking.answered(exists)
	}
	return exists, err
}

func (c *copier) exists(ctx context.Context, desc Descriptor) (exists bool, err error) {
	err = c.slot(ctx, 0, func() error {
		exists, err = c.dst.Exists(ctx, desc)
		return atTarget(err)
	})
	return exists, err
}

// lost reports whether the target, which has the manifest desc, does not have all below
// it that is to be copied.
//
//	Lost(ctx context.Context, desc Descriptor, children func(Descriptor, *Manifest) []Descriptor) (bool, error)
//
// is the optional method of a target that can come to that, as a directory of files, and
// finds out by itself.
func (c *copier) lost(ctx context.Context, desc Descriptor) (lost bool, err error) {
	t, ok := c.dst.(interface {
		Lost(context.Context, Descriptor, func(Descriptor, *Manifest) []Descriptor) (bool, error)
	})
	if !ok {
		return false, nil
	}
	err = c.slot(ctx, 0, func() error {
		lost, err = t.Lost(ctx, desc, c.children)
		return atTarget(err)
	})
	return lost, err
}

// open opens content at the source, or takes it from the descriptor, which may
// hold it (image-spec, descriptor.md, data).
func (c *copier) open(ctx context.Context, desc Descriptor) (io.ReadCloser, error) {
	if len(desc.Data) > 0 && int64(len(desc.Data)) == desc.Size {
		return inline{bytes.NewReader(desc.Data)}, nil
	}
	return c.src.Fetch(ctx, desc)
}

// plain returns of a manifest's descriptor what is true of it wherever it is.
func plain(desc Descriptor) Descriptor {
	return Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
}

type inline struct{ *bytes.Reader }

func (inline) Close() error { return nil }

// slot runs f, which moves size bytes, when there is a place for it.
func (c *copier) slot(ctx context.Context, size int64, f func() error) error {
	if size <= smallPiece && c.limit > 1 {
		return c.small.do(ctx, f)
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
		return f()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *copier) event(kind EventKind, desc Descriptor, n int64) {
	c.tell(Event{Kind: kind, Descriptor: desc, Bytes: n})
}

func (c *copier) tell(e Event) {
	if c.opts.Event == nil {
		return
	}
	c.events.Lock()
	defer c.events.Unlock()
	c.opts.Event(e)
}
