package file

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
)

// clean returns the spelling that titles are compared by.
func clean(title string) string { return path.Clean(filepath.ToSlash(title)) }

// checkTitle refuses text that cannot be a name anywhere, as [oras.ErrInvalid].
func checkTitle(title string) error {
	switch {
	case title == "":
		return badTitle(title, errors.New("empty"))
	case !utf8.ValidString(title):
		return badTitle(title, errors.New("not UTF-8"))
	case strings.ContainsFunc(title, unicode.IsControl):
		return badTitle(title, errors.New("control characters"))
	}
	return nil
}

func badTitle(title string, err error) error {
	return fmt.Errorf("title %q: %w: %w", title, oras.ErrInvalid, err)
}

func pathTraversal(title string) error {
	return fmt.Errorf("%w: title %q", ErrPathTraversal, title)
}

// locate returns the absolute path of the file that a title names, and its name
// below the directory of the store where it must not leave that, separated by
// slashes; where it may, the empty string. A directory may be the directory of the
// store itself, ".", a file may not.
func (s *Store) locate(title string, directory bool) (abs, rel string, err error) {
	if err := checkTitle(title); err != nil {
		return "", "", err
	}
	abs = s.abs(title)
	local, err := filepath.Rel(s.dir, abs)
	switch {
	case s.opts.AllowPathTraversal && abs != s.dir:
		if err := archive.CheckName(filepath.Base(abs)); err != nil {
			return "", "", badTitle(title, err)
		}
		return abs, "", nil
	case !s.opts.AllowPathTraversal && (err != nil || !filepath.IsLocal(local) || goesUp(title)):
		return "", "", pathTraversal(title)
	case abs == s.dir && directory:
		return abs, ".", nil
	}
	rel = filepath.ToSlash(local)
	if !filepath.IsAbs(filepath.FromSlash(title)) {
		rel = path.Clean(title) // with what Windows would take for separators
	}
	if err := archive.CheckName(rel); err != nil {
		return "", "", badTitle(title, err)
	}
	return abs, rel, nil
}

func goesUp(title string) bool {
	return slices.Contains(strings.Split(filepath.ToSlash(title), "/"), "..")
}
