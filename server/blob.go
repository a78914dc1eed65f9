package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// smallBody is in bytes. What is no larger is sent from a buffer.
const smallBody = 32 << 10

var smallBodies = sync.Pool{New: func() any { return new([smallBody]byte) }}

// maxRanges is how many ranges of one blob may be asked for at once.
const maxRanges = 64

func (s *server) getBlob(w http.ResponseWriter, r *request) error {
	var content io.ReadCloser
	err := r.look(func() (err error) {
		content, err = r.store.Fetch(r.http.Context(), oras.Descriptor{Digest: r.Digest.OCI()})
		return err
	})
	if err != nil {
		return err
	}
	defer content.Close()
	seeker, ok := content.(io.ReadSeeker)
	if ok {
		return serveContent(w, r, seeker)
	}
	desc, err := r.resolve()
	if err != nil {
		return err
	}
	return serveContent(w, r, stream(r, content, desc.Size))
}

func (s *server) headBlob(w http.ResponseWriter, r *request) error {
	desc, err := r.resolve()
	if err != nil {
		return err
	}
	return serveContent(w, r, stream(r, nil, desc.Size))
}

// deleteBlob removes a blob. A manifest takes its tags with it, so it is not
// removed in passing.
func (s *server) deleteBlob(w http.ResponseWriter, r *request) error {
	desc, err := r.resolve()
	if err != nil {
		return err
	}
	if oras.IsManifest(desc.MediaType) {
		return fmt.Errorf("%s is a manifest, to be deleted as such: %w", r.Digest, oras.ErrUnsupported)
	}
	return r.delete(w, desc)
}

func (r *request) delete(w http.ResponseWriter, desc oras.Descriptor) error {
	if err := r.look(func() error { return r.store.Delete(r.http.Context(), desc) }); err != nil {
		return err
	}
	w.Header().Set(wire.HeaderDigest, desc.Digest.String())
	return done(w, http.StatusAccepted)
}

// resolve returns the descriptor of what r is about.
func (r *request) resolve() (desc oras.Descriptor, err error) {
	err = r.look(func() error {
		desc, err = r.store.Resolve(r.http.Context(), r.reference())
		return err
	})
	return desc, err
}

// look is look for r.Digest.
func (r *request) look(do func() error) error {
	return look(r.http.Context(), r.store, r.Digest, do)
}

// stream returns content of size bytes that cannot be seeked, for serveContent:
// what is asked of it is its size, and to be read from the start. HEAD reads
// nothing.
func stream(r *request, content io.Reader, size int64) io.ReadSeeker {
	r.http.Header.Del("Range")
	return struct {
		io.Reader
		io.Seeker
	}{content, io.NewSectionReader(nil, 0, size)}
}

// serveContent answers with the blob r.Digest, or with the ranges of it that were
// asked for.
func serveContent(w http.ResponseWriter, r *request, content io.ReadSeeker) error {
	h := w.Header()
	h.Set(wire.HeaderDigest, r.Digest.String())
	h.Set("ETag", wire.ETag(r.Digest))
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", oras.MediaTypeBlob) // whatever it is, no browser shall run it
	}
	if unit := r.http.Header.Get("Range"); !strings.HasPrefix(unit, "bytes=") {
		r.http.Header.Del("Range") // RFC 9110, section 14.2: a unit that is not known
	}
	switch ranges := 1 + strings.Count(r.http.Header.Get("Range"), ","); {
	case ranges > maxRanges:
		return fmt.Errorf("%w: more than %d", errRange, maxRanges)
	case ranges > 1:
		g := &guarded{content: content}
		defer g.close()
		content = g
	}
	rw := &rangeWriter{ResponseWriter: w}
	http.ServeContent(rw, r.http, "", time.Time{}, content)
	switch size, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); {
	case rw.refused == http.StatusPreconditionFailed:
		return errPrecondition
	case rw.refused != 0:
		return errRange
	case rw.err != nil:
		return rw.err
	case err == nil && size != rw.sent && r.http.Method != http.MethodHead:
		return fmt.Errorf("%s: %w: %d of %d bytes", r.Digest, io.ErrUnexpectedEOF, rw.sent, size)
	}
	return nil
}

// A rangeWriter keeps back what http.ServeContent answers if there is no such range,
// or a condition does not hold, and learns what became of the rest.
type rangeWriter struct {
	http.ResponseWriter
	refused int   // the status
	sent    int64 // bytes
	err     error
}

func (w *rangeWriter) WriteHeader(status int) {
	if status == http.StatusRequestedRangeNotSatisfiable || status == http.StatusPreconditionFailed {
		w.refused = status
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *rangeWriter) Write(p []byte) (int, error) {
	if w.refused != 0 {
		return len(p), nil
	}
	n, err := w.ResponseWriter.Write(p)
	return n, w.note(int64(n), err)
}

// ReadFrom keeps the form that lets net/http hand a file to the kernel. What is small
// costs less when it goes with the header.
func (w *rangeWriter) ReadFrom(src io.Reader) (int64, error) {
	if limited, ok := src.(*io.LimitedReader); ok && limited.N <= smallBody {
		buffer := smallBodies.Get().(*[smallBody]byte)
		defer smallBodies.Put(buffer)
		n, err := io.ReadFull(limited, buffer[:limited.N])
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil // as with io.Copy
		}
		if n > 0 && err == nil {
			n, err = w.ResponseWriter.Write(buffer[:n])
		}
		return int64(n), w.note(int64(n), err)
	}
	n, err := io.Copy(w.ResponseWriter, src)
	return n, w.note(n, err)
}

func (w *rangeWriter) note(n int64, err error) error {
	w.sent += n
	if err != nil {
		w.err = err
	}
	return err
}

// A guarded reader can be taken away from whom it was given to: http.ServeContent
// reads several ranges in a goroutine that may outlive it.
type guarded struct {
	mu      sync.Mutex
	content io.ReadSeeker
}

var errTaken = errors.New("content is no longer read")

func (g *guarded) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.content = nil
}

func (g *guarded) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.content == nil {
		return 0, errTaken
	}
	return g.content.Read(p)
}

func (g *guarded) Seek(offset int64, whence int) (int64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.content == nil {
		return 0, errTaken
	}
	return g.content.Seek(offset, whence)
}
