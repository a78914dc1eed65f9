package oras_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/c73062ad/oras"

// mayImport says which folders of this module a folder's packages may import,
// tests aside. "." is the root, "*" is any.
//
// Implementations of the same interfaces do not know each other, so they meet in
// one place only, cmd/oras, and each can be read, replaced and left out by
// itself. docs/architecture.md has the same table.
var mayImport = map[string][]string{
	".":                {},
	"internal/wire":    {"."},
	"internal/index":   {"."},
	"internal/claim":   {},
	"internal/partial": {"."},
	"storetest":        {"."},
	"archive":          {},
	"quickstart":       {},
	"memory":           {".", "internal/index"},
	"layout":           {".", "internal/index", "internal/claim", "internal/partial"},
	"bucket":           {"."},
	"bucket/s3":        {".", "bucket"}, // not there yet
	"file":             {".", "archive", "internal/claim", "internal/partial"},
	"remote":           {".", "internal/wire"},
	"server":           {".", "internal/wire"},
	"auth":             {".", "internal/wire"},
	"ui":               {"."}, // not there yet
	"cmd/oras":         {"*"},
}

func TestImports(t *testing.T) {
	checked := 0
	must(t, fs.WalkDir(os.DirFS("."), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		switch name := entry.Name(); {
		case entry.IsDir():
			if path == "." {
				return nil
			}
			// As the go command: hidden, test data, and modules of their own.
			if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		checked++
		allowed, ok := mayImport[folder]
		if !ok {
			t.Errorf("%s: the folder %s has no row in the table of imports", path, folder)
			return nil
		}
		for _, imported := range importsOf(t, path) {
			if imported != "" && !slices.Contains(allowed, imported) && !slices.Contains(allowed, "*") {
				t.Errorf("%s: %s may not import %s", path, folder, imported)
			}
		}
		return nil
	}))
	if checked < 10 {
		t.Errorf("only %d files were found", checked)
	}
}

// importsOf returns the folders of this module that a file imports.
func importsOf(t *testing.T, path string) (folders []string) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	must(t, err)
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		must(t, err)
		if imported == module {
			folders = append(folders, ".")
		} else if folder, ok := strings.CutPrefix(imported, module+"/"); ok {
			folders = append(folders, folder)
		}
	}
	return folders
}

// The root says what a store is, not how to reach one.
func TestRootImports(t *testing.T) {
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		must(t, err)
		for _, spec := range file.Imports {
			if spec.Path.Value == `"os"` || strings.HasPrefix(spec.Path.Value, `"net/http`) {
				t.Errorf("%s imports %s", path, spec.Path.Value)
			}
		}
	}
}
