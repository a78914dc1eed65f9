package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/file"
)

// A fileArgument is a file to push, as a command line names it.
type fileArgument struct {
	path, mediaType string
	name            string // its title
	size            int64  // 0 of a directory
	annotations     map[string]string
}

// parseFiles parses files, in the form path[:mediaType]. What is not there, or there
// twice, is found out here, before anything is read or sent; preparing is told the
// name of each.
func (f *packFlags) parseFiles(files []string, annotations map[string]map[string]string, preparing func(name string)) ([]fileArgument, error) {
	var arguments []fileArgument
	seen := map[string]bool{}
	if f.config != "" {
		path, _, _ := parseFile(f.config, "") // it was added
		seen[nameOf(path)] = true
	}
	for _, ref := range files {
		path, mediaType, err := parseFile(ref, "")
		if err != nil {
			return nil, err
		}
		a := fileArgument{path: path, mediaType: mediaType, name: nameOf(path), annotations: annotations[path]}
		if a.path != a.name {
			a.annotations = merge(annotations[a.name], a.annotations)
		}
		preparing(a.name)
		info, err := statFile(path)
		if errors.Is(err, fs.ErrNotExist) && path != ref {
			if _, e := os.Lstat(ref); e == nil {
				err = hint(err, "What is behind the last colon is the media type: write %q for the file of that name", ref+":")
			}
		}
		switch {
		case err != nil:
			if errors.Is(err, fs.ErrNotExist) {
				err = withHint(err, pathsBegin)
			}
			return nil, err
		case seen[a.name]:
			return nil, hint(fmt.Errorf("%s: %w: duplicate name", a.name, oras.ErrInvalid), "Name each file once")
		case info.Mode().IsRegular():
			a.size = info.Size()
		}
		seen[a.name] = true
		arguments = append(arguments, a)
	}
	return arguments, nil
}

// nameOf returns the title of the file at path.
func nameOf(path string) string {
	name := filepath.Clean(path)
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.ToSlash(name)
}

// statFile is os.Stat whose errors have the absolute path.
func statFile(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err == nil {
		return info, nil
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return os.Stat(absolute)
}

// A sender makes files the content of an artifact, and copies that. Where it can it
// sends files while they are read.
type sender struct {
	files       *file.Store
	out         *textOutput
	concurrency int
	dst         oras.Target   // nil: nothing is sent before the artifact is whole
	name        string        // what dst is called
	journal     *file.Journal // or nil

	mu      sync.Mutex
	told    endedContent
	sent    map[transferKey]bool
	begun   map[transferKey]bool // what has been told by its digest
	resumes bool                 // an upload has begun that another sender goes on with
}

func newSender(files *file.Store, flags *packFlags, out *textOutput) *sender {
	return &sender{files: files, out: out, concurrency: concurrency(flags.concurrency), told: endedContent{}, sent: map[transferKey]bool{}, begun: map[transferKey]bool{}}
}

// open makes the sender send to dst, a registry's repository of that name. Close must
// be called.
func (s *sender) open(dst oras.Target, name string) {
	s.dst, s.name, s.journal = dst, name, openJournal()
}

func (s *sender) Close() error {
	if s.journal == nil {
		return nil
	}
	return s.journal.Close()
}

// maxSends is how many files are read and sent at a time if nothing else is said: each
// has buffers of its own.
const maxSends = 8

// add makes files content of the artifact and returns their descriptors, annotated,
// in the same order.
func (s *sender) add(ctx context.Context, files []fileArgument) ([]oras.Descriptor, error) {
	descs := make([]oras.Descriptor, len(files))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxSends)
	if s.concurrency > 0 {
		g.SetLimit(s.concurrency)
	}
	for i, f := range files {
		g.Go(func() (err error) {
			descs[i], err = s.addFile(ctx, f)
			return unread(err)
		})
	}
	return descs, g.Wait()
}

// unread returns err, of reading what is to be pushed, with the way out. If it is that
// of the place for temporary files it says so, and not what they were for.
func unread(err error) error {
	var file *fs.PathError
	place := os.TempDir()
	if errors.As(err, &file) && strings.HasPrefix(file.Op, "open") && errors.Is(file, fs.ErrPermission) {
		return withHint(err, "It cannot be read by you: check its permissions, or leave it out")
	}
	if !errors.As(err, &file) || file.Path != place && !(strings.HasPrefix(file.Path, filepath.Join(place, "oras-")) && (isFull(file) || file.Op == "mkdir")) {
		return err
	}
	return hint(fmt.Errorf("temporary files in %s: %w", place, file.Err), "Name a directory with room for them in the environment variable TMPDIR")
}

func (s *sender) addFile(ctx context.Context, f fileArgument) (oras.Descriptor, error) {
	if err := context.Cause(ctx); err != nil {
		return oras.Descriptor{}, err
	}
	s.out.reading(f.name)
	if s.dst == nil {
		desc, err := s.files.Add(ctx, f.name, f.path, f.mediaType)
		return f.annotate(desc), err
	}
	desc, sent, err := s.files.Send(ctx, s.dst, f.name, f.path, f.mediaType, &file.SendOptions{
		Journal: s.journal,
		Target:  s.name,
		Event:   func(e oras.Event) { s.sending(f, e) },
	})
	desc = f.annotate(desc)
	if sent {
		s.mu.Lock()
		s.sent[keyOf(desc)] = true
		s.mu.Unlock()
	}
	return desc, err
}

// annotate returns desc with the annotations of the file.
func (f fileArgument) annotate(desc oras.Descriptor) oras.Descriptor {
	desc.Annotations = merge(f.annotations, desc.Annotations)
	return desc
}

// sending passes on an event of a file that is sent.
func (s *sender) sending(f fileArgument, e oras.Event) {
	e.Descriptor = f.annotate(e.Descriptor)
	switch {
	case e.Descriptor.Digest == "":
		e.Descriptor.Size = f.size
	case e.Kind != oras.Exists && s.begins(e.Descriptor) && e.Kind != oras.Copying:
		// Only now it can be said what is copied.
		began := e
		began.Kind = oras.Copying
		s.event(began)
	}
	s.event(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumes = s.resumes || s.journal != nil && e.Kind == oras.Progress && e.Bytes > 0
}

// begins reports whether desc was not yet told by its digest, and notes that it is.
func (s *sender) begins(desc oras.Descriptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.begun[keyOf(desc)]
	s.begun[keyOf(desc)] = true
	return !told
}

// event tells of each content's end once, whoever brought it there.
func (s *sender) event(e oras.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told.once(s.out.event)(e)
}

// children is for oras.CopyOptions: what is at the target already, the subject and
// what was sent, is left out.
func (s *sender) children(_ oras.Descriptor, m *oras.Manifest) []oras.Descriptor {
	s.mu.Lock()
	defer s.mu.Unlock()
	var children []oras.Descriptor
	for _, child := range m.Children() {
		if (m.Subject == nil || child.Digest != m.Subject.Digest) && !s.sent[keyOf(child)] {
			children = append(children, child)
		}
	}
	return children
}

// keyOf returns what status lines know content by.
func keyOf(desc oras.Descriptor) transferKey {
	return transferKey{desc.Digest, oras.Event{Descriptor: desc}.Name()}
}

// push packs a manifest and copies it, with what was not sent yet of what it holds,
// to dst.
func (s *sender) push(ctx context.Context, dst oras.Target, opts *oras.PackOptions, flags *packFlags, tags []string) (oras.Descriptor, error) {
	desc, err := s.pack(ctx, dst, opts)
	if err != nil {
		return desc, err
	}
	_, err = oras.Copy(ctx, s.files, string(desc.Digest), dst, &oras.CopyOptions{
		Tags:        tags,
		Concurrency: s.concurrency,
		Children:    s.children,
		Event:       s.event,
	})
	if err != nil || flags.exportManifest == "" {
		return desc, err
	}
	data, err := oras.FetchAll(ctx, s.files, desc)
	if err != nil {
		return desc, err
	}
	if err := writeFile(flags.exportManifest, data); err != nil {
		return desc, hint(fmt.Errorf("--export-manifest %s: %w", flags.exportManifest, cause(err)), "The manifest is pushed: \"oras manifest fetch\" shows it")
	}
	return desc, nil
}

// pack packs a manifest. One that refers to a subject is another each time, so that
// the same content attached twice is attached twice: where dst has one of this second,
// the time is told more exactly. Who sets the time gets what that makes.
func (s *sender) pack(ctx context.Context, dst oras.Target, opts *oras.PackOptions) (oras.Descriptor, error) {
	desc, err := oras.Pack(ctx, s.files, opts)
	if _, set := opts.Annotations[ocispec.AnnotationCreated]; err != nil || opts.Subject == nil || set || !opts.Created.IsZero() {
		return desc, err
	}
	exists, err := dst.Exists(ctx, desc)
	if err != nil || !exists {
		return desc, err
	}
	exact := *opts
	exact.Annotations = merge(map[string]string{ocispec.AnnotationCreated: time.Now().UTC().Format(time.RFC3339Nano)}, opts.Annotations)
	return oras.Pack(ctx, s.files, &exact)
}

// resumable returns err, of a command that broke off, as one of a command that goes
// on if it is run again, if it is.
func (s *sender) resumable(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return resumableCopy(err, s.resumes, s.out.hasArrived())
}
