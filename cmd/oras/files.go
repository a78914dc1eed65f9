package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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
	compression    compressionFlag
	transferFlags
}

func (f *packFlags) register(flags *pflag.FlagSet) {
	f.annotationFlags.register(flags)
	flags.StringVar(&f.artifactType, "artifact-type", "", "artifact type")
	flags.StringVar(&f.config, "config", "", "`path` of image config file")
	flags.StringVar(&f.exportManifest, "export-manifest", "", "`path` of the pushed manifest")
	flags.BoolVar(&f.anyPath, "disable-path-validation", false, "skip path validation")
	flags.IntVar(&f.concurrency, "concurrency", 5, "concurrency level")
	f.compression.register(flags)
	f.registerLimit(flags)
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

// checkConfig checks --config, the file aside.
func (f *packFlags) checkConfig() error {
	if f.config == "" {
		return nil
	}
	_, mediaType, err := parseFile(f.config, oras.MediaTypeUnknownConfig)
	if err != nil {
		return err
	}
	if err := oras.CheckMediaType(mediaType); err != nil {
		return fmt.Errorf("--config %s: %w", f.config, err)
	}
	return nil
}

// checkExport checks --export-manifest before anything is pushed: there must be a
// directory for the file, and none of its name.
func (f *packFlags) checkExport() error {
	if f.exportManifest == "" {
		return nil
	}
	info, err := os.Stat(filepath.Dir(f.exportManifest))
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if info, e := os.Stat(f.exportManifest); e == nil && info.IsDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return hint(fmt.Errorf("--export-manifest %s: %w", f.exportManifest, cause(err)), writesFile)
	}
	return nil
}

// checkTypes warns of media types of files that are none. Registries take them, and
// there are scripts that have them.
func checkTypes(env *environment, files []string) {
	for _, ref := range files {
		path, mediaType, err := parseFile(ref, "")
		if err == nil && mediaType != "" && oras.CheckMediaType(mediaType) != nil {
			env.warn(fmt.Sprintf("%s: %q is not of the form that media types have, type/subtype", path, mediaType))
		}
	}
}

// checkNames warns of files whose names lead out of the directory that they are pulled
// into, which pulling refuses.
func checkNames(env *environment, files []string, annotations map[string]map[string]string) {
	for _, ref := range files {
		path, _, err := parseFile(ref, "")
		name := nameOf(path)
		titled := annotations[path][ocispec.AnnotationTitle] + annotations[name][ocispec.AnnotationTitle]
		if err == nil && titled == "" && (name == ".." || strings.HasPrefix(name, "../")) {
			env.warn(fmt.Sprintf("%s: this is its name, too, which \"oras pull\" refuses without --allow-path-traversal: to give it another, push from the directory it is in", path))
		}
	}
}

// openFiles opens the store of the files to push. What is made has the time of
// SOURCE_DATE_EPOCH, which is returned.
func (f *packFlags) openFiles(env *environment) (*file.Store, time.Time, error) {
	at, err := sourceDateEpoch()
	if err != nil {
		return nil, at, err
	}
	files, err := file.New(".", &file.Options{
		ModTime:     at,
		Compression: f.compression.method,
		Level:       f.compression.level,
		Outward: func(link, target string) {
			env.warn(fmt.Sprintf("%s: this link leads out of what is pushed, to %q: \"oras pull\" refuses the whole directory for it", link, target))
		},
	})
	return files, at, err
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

// addConfig adds the config file ref, in the form path[:mediaType].
func addConfig(ctx context.Context, s *file.Store, ref string, annotations map[string]string) (*oras.Descriptor, error) {
	path, mediaType, err := parseFile(ref, oras.MediaTypeUnknownConfig)
	if err != nil {
		return nil, err
	}
	if absolute, err := filepath.Abs(path); err == nil {
		if _, err := os.Stat(absolute); err != nil {
			return nil, withHint(fmt.Errorf("--config %s: %w", absolute, cause(err)), missingFile(err))
		}
	}
	desc, err := s.Add(ctx, path, path, mediaType)
	if err != nil {
		return nil, unread(err)
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
