package bucket

import (
	"context"
	"io"
	"io/fs"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

const (
	listPage     = 1000            // keys in a page of a list
	readPage     = 1024            // names read from a folder at once
	cacheFrom    = 1000            // names from which a folder is worth keeping
	cacheNames   = 400_000         // names that are kept
	cacheSettled = 2 * time.Second // what clocks of file systems may not tell apart
)

// List is [Bucket.List]. The names of one folder at a time are in memory.
func (d *Dir) List(ctx context.Context, prefix, last string, fn func(keys []string) error) error {
	l := &lister{dir: d, prefix: prefix, last: last, fn: fn}
	if err := l.folder(ctx, prefix[:strings.LastIndexByte(prefix, '/')+1]); err != nil {
		return err
	}
	return l.flush()
}

type lister struct {
	dir          *Dir
	prefix, last string
	fn           func([]string) error
	page         []string
}

// folder lists what is below folder, which is empty or ends with "/".
func (l *lister) folder(ctx context.Context, folder string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := l.dir.list(folder)
	if err != nil {
		return failed(folder, err)
	}
	for _, name := range names[l.start(folder, names):] {
		key := folder + name
		switch {
		case !strings.HasPrefix(key, l.prefix):
			if key > l.prefix {
				return nil
			}
		case strings.HasSuffix(key, "/"):
			if err := l.folder(ctx, key); err != nil {
				return err
			}
		default:
			l.page = append(l.page, key)
			if len(l.page) < listPage {
				continue
			}
			if err := l.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// start returns where the first of names is that comes after last, or has
// something below it that does.
func (l *lister) start(folder string, names []string) int {
	i := sort.Search(len(names), func(i int) bool { return folder+names[i] > l.last })
	if i > 0 && strings.HasSuffix(names[i-1], "/") && strings.HasPrefix(l.last, folder+names[i-1]) {
		i--
	}
	return i
}

func (l *lister) flush() error {
	if len(l.page) == 0 {
		return nil
	}
	page := l.page
	l.page = nil
	return l.fn(page)
}

// list returns the names in folder, which is empty or ends with "/", as parts of
// keys in the order of keys: folders end with "/". What is no folder is
// empty. The caller must not change what it gets.
func (d *Dir) list(folder string) ([]string, error) {
	name := "."
	if folder != "" {
		var err error
		if name, err = d.file(strings.TrimSuffix(folder, "/")); err != nil {
			return nil, err
		}
	}
	f, err := d.root.Open(name)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, nil
	}
	if names, ok := d.names.get(name, info.ModTime()); ok {
		return names, nil
	}
	settled := time.Since(info.ModTime()) > cacheSettled
	names, err := d.read(f)
	if err != nil {
		return nil, err
	}
	if settled {
		d.names.put(name, info.ModTime(), names)
	}
	return names, nil
}

func (d *Dir) read(f fs.ReadDirFile) ([]string, error) {
	var names []string
	for {
		entries, err := f.ReadDir(readPage)
		for _, entry := range entries {
			name := d.unfolded(entry.Name())
			if _, err := d.file(name); err != nil {
				continue // nothing of ours
			}
			if entry.IsDir() {
				name += "/"
			}
			names = append(names, name)
		}
		if err == io.EOF {
			slices.Sort(names)
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// A nameCache keeps the names in large folders, so that whoever lists 100,000
// tags by pages does not read all of them for each page. A folder's time of
// modification changes with the names in it, whoever changes them, though no
// finer than the clock behind it: names are kept only if they were read well
// after that time.
type nameCache struct {
	mu      sync.Mutex
	folders map[string]cachedNames
	total   int
}

type cachedNames struct {
	modified time.Time
	names    []string
}

func (c *nameCache) get(folder string, modified time.Time) ([]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cached, ok := c.folders[folder]
	if !ok || !cached.modified.Equal(modified) {
		return nil, false
	}
	return cached.names, true
}

func (c *nameCache) put(folder string, modified time.Time, names []string) {
	if len(names) < cacheFrom || len(names) > cacheNames {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(folder)
	for other := range c.folders {
		if c.total+len(names) <= cacheNames {
			break
		}
		c.drop(other)
	}
	if c.folders == nil {
		c.folders = map[string]cachedNames{}
	}
	c.folders[folder] = cachedNames{modified, names}
	c.total += len(names)
}

func (c *nameCache) drop(folder string) {
	c.total -= len(c.folders[folder].names)
	delete(c.folders, folder)
}
