package bucket

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/c73062ad/oras"
)

// CheckOptions say how a bucket is checked. The zero value works.
type CheckOptions struct {
	// Repair mends what can be.
	Repair bool

	// Sparse reports whether manifests of a repository may refer to what is not
	// there; nil means in none.
	Sparse func(repository string) bool

	// Event, if not nil, is called for each thing that is wrong.
	Event func(Problem)
}

// A Problem is a thing that is wrong.
type Problem struct {
	Repository string // empty for what belongs to none
	Name       string // what is wrong: "blob sha256:…", "manifest sha256:…", "tag v1", or a key
	Text       string // what is wrong with it, what that means, and the way out or what was done
	Repaired   bool   // nothing is wrong with it any longer
}

// String returns one line.
func (p Problem) String() string {
	if p.Repository == "" {
		return p.Name + ": " + p.Text
	}
	return p.Repository + ": " + p.Name + ": " + p.Text
}

// Checked says what a check found.
type Checked struct {
	Repositories, Blobs, Manifests, Tags int
	Bytes                                int64 // that were hashed
	Problems, Repaired                   int
}

// Check reads all there is: content, which must have the digest it is kept under,
// and every fact, which must say what others say. What broken work and concurrent
// writers leave is not wrong, as long as nothing names it; [Registry.Collect] deletes
// it. Content that is kept once for several repositories is read once if it is large.
//
// Check can be run while others read and write. It changes nothing without
// CheckOptions.Repair, and then never deletes content: what is not what its digest
// says is moved to a key of its own, and replaced by what another repository has
// under that digest, if that is whole. What is only missing, though, is not taken
// from other repositories: this one may not be allowed to have it.
//
// That something is wrong is no error.
func (r *Registry) Check(ctx context.Context, opts *CheckOptions) (Checked, error) {
	c := &checker{registry: r, bucket: r.bucket}
	if opts != nil {
		c.opts = *opts
	}
	if err := c.unmarked(ctx); err != nil {
		return c.done, err
	}
	err := r.Repositories(ctx, "", func(names []string) error {
		for _, name := range names {
			s, err := r.store(name)
			if err != nil {
				c.wrong(Problem{"", repositoryKey(name), "is not the name of a repository; remove it", false})
				continue
			}
			if err := c.repository(ctx, s); err != nil {
				return fmt.Errorf("repository %s: %w", name, err)
			}
		}
		return nil
	})
	return c.done, err
}

// A checker is a check under way.
type checker struct {
	registry *Registry
	bucket   Bucket
	opts     CheckOptions
	whole    wholeFiles

	mu   sync.Mutex
	done Checked
}

func (c *checker) wrong(p Problem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done.Problems++
	if p.Repaired {
		c.done.Repaired++
	}
	if c.opts.Event != nil {
		c.opts.Event(p)
	}
}

// repair calls mend if it may and says that p is wrong, with what was done or the way
// out.
func (c *checker) repair(p Problem, did, wayOut string, mend func() error) error {
	if !c.opts.Repair {
		p.Text += "; " + wayOut
		c.wrong(p)
		return nil
	}
	if err := mend(); err != nil {
		return fmt.Errorf("%s: repairing: %w", p.Name, err)
	}
	p.Text += "; " + did
	p.Repaired = true
	c.wrong(p)
	return nil
}

const withRepair = "a repair mends it"

func (c *checker) repository(ctx context.Context, s *Store) error {
	c.done.Repositories++
	for _, check := range []func(context.Context, *Store) error{c.blobs, c.manifests, c.referrers, c.tags} {
		if err := check(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// unmarked finds what belongs to no repository that there is.
func (c *checker) unmarked(ctx context.Context) error {
	last := ""
	for {
		key, err := c.after(ctx, last)
		if err != nil || key == "" {
			return err
		}
		if key == schemaKey {
			last = key
			continue
		}
		top, _, _ := strings.Cut(key, "/")
		if oras.CheckRepository(top) != nil { // no name of a repository begins with it
			if top+"/" != repositories && top+"/" != contents && top+"/" != damaged {
				c.wrong(Problem{"", top, "is nothing that belongs here; move it away", false})
			}
			last = top + "/\x7f"
			continue
		}
		name, _, found := strings.Cut(key, "/_")
		if !found || oras.CheckRepository(name) != nil {
			c.wrong(Problem{"", key, "is nothing that belongs here; move it away", false})
			last = key
			continue
		}
		last = name + "/_\x7f"
		if _, err := c.bucket.Size(ctx, repositoryKey(name)); err == nil {
			continue
		} else if !errors.Is(err, oras.ErrNotFound) {
			return err
		}
		err = c.repair(Problem{"", "repository " + name, "is not in the list of repositories", false}, "added", withRepair, func() error {
			return c.bucket.Put(ctx, repositoryKey(name), eof{}, 0)
		})
		if err != nil {
			return err
		}
	}
}

// after returns the first key after last, or nothing.
func (c *checker) after(ctx context.Context, last string) (key string, err error) {
	found := errors.New("found")
	err = c.bucket.List(ctx, "", last, func(keys []string) error {
		key = keys[0]
		return found
	})
	if err == found {
		err = nil
	}
	return key, err
}

// each calls fn with the keys that begin with prefix.
func (c *checker) each(ctx context.Context, prefix string, fn func(key string) error) error {
	return c.bucket.List(ctx, prefix, "", func(keys []string) error {
		for _, key := range keys {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(key); err != nil {
				return err
			}
		}
		return nil
	})
}

// strange says that key is not one that there can be.
func (c *checker) strange(s *Store, key string) {
	c.wrong(Problem{s.name, key, "is nothing that belongs here; move it away", false})
}

// there reports whether there is an object key.
func (c *checker) there(ctx context.Context, key string) (bool, error) {
	_, err := c.bucket.Size(ctx, key)
	if errors.Is(err, oras.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
