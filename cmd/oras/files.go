package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/file"
)

// packFlags are those of push and attach: what becomes an artifact, and how.
type packFlags struct {
	annotationFlags
	artifactType   string
	config         string
	exportManifest string
	anyPath        bool
	concurrency    int
}

func (f *packFlags) register(fs *pflag.FlagSet) {
	f.annotationFlags.register(fs)
	fs.StringVar(&f.artifactType, "artifact-type", "", "artifact type")
	fs.StringVar(&f.config, "config", "", "`path` of image config file")
	fs.StringVar(&f.exportManifest, "export-manifest", "", "`path` of the pushed manifest")
	fs.BoolVar(&f.anyPath, "disable-path-validation", false, "skip path validation")
	fs.IntVar(&f.concurrency, "concurrency", 5, "concurrency level")
}

// checkPaths refuses absolute paths, which would become the files' names.
func (f *packFlags) checkPaths(files []string) error {
	if f.anyPath {
		return nil
	}
	var absolute []string
	for _, ref := range files {
		path, _, err := parseFile(ref, "")
		if err != nil {
			return err
		}
		if filepath.IsAbs(path) {
			absolute = append(absolute, path)
		}
	}
	if len(absolute) > 0 {
		return fmt.Errorf("absolute file path detected. If it's intentional, use --disable-path-validation flag to skip this check: %s", strings.Join(absolute, ", "))
	}
	return nil
}

// parseFile splits path[:mediaType]. What is behind the last colon is the type;
// nothing there means the standard one.
func parseFile(ref, standard string) (path, mediaType string, err error) {
	path, mediaType = ref, standard
	if i := strings.LastIndexByte(ref, ':'); i >= 0 && i != len(filepath.VolumeName(ref))-1 {
		path = ref[:i]
		if ref[i+1:] != "" {
			mediaType = ref[i+1:]
		}
	}
	if path == "" {
		return "", "", fmt.Errorf("found empty file path in %q", ref)
	}
	return path, mediaType, nil
}

// addFiles adds files, in the form path[:mediaType], to the store and returns
// their descriptors, annotated. prepare is told the name of each.
func addFiles(ctx context.Context, s *file.Store, files []string, annotations map[string]map[string]string, prepare func(name string)) ([]oras.Descriptor, error) {
	var descs []oras.Descriptor
	for _, ref := range files {
		path, mediaType, err := parseFile(ref, "")
		if err != nil {
			return nil, err
		}
		name := filepath.Clean(path)
		if !filepath.IsAbs(name) {
			name = filepath.ToSlash(name)
		}
		prepare(name)
		desc, err := s.Add(ctx, name, path, mediaType)
		if err != nil {
			return nil, err
		}
		desc.Annotations = merge(annotations[path], desc.Annotations)
		if path != name {
			desc.Annotations = merge(annotations[name], desc.Annotations)
		}
		descs = append(descs, desc)
	}
	return descs, nil
}

// addConfig adds the config file ref, in the form path[:mediaType].
func addConfig(ctx context.Context, s *file.Store, ref string, annotations map[string]string) (*oras.Descriptor, error) {
	path, mediaType, err := parseFile(ref, oras.MediaTypeUnknownConfig)
	if err != nil {
		return nil, err
	}
	desc, err := s.Add(ctx, path, path, mediaType)
	if err != nil {
		return nil, err
	}
	desc.Annotations = annotations // a config has no title
	return &desc, nil
}

// readAll reads r, which must not hold more than limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("larger than %d bytes", limit)
	}
	return data, err
}

var errNothingToAttach = errors.New("neither file nor annotation provided in the command")
