package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/c73062ad/oras"
)

// Keys of an annotation file that are no names of files.
const (
	annotationsOfManifest = "$manifest"
	annotationsOfConfig   = "$config"
)

// maxAnnotationFile is the largest annotation file read, in bytes: what it holds
// has to fit into a manifest.
const maxAnnotationFile = oras.MaxManifestSize

// parse returns the annotations by what they are of: the manifest, the config, or
// the file of that name.
func (f *annotationFlags) parseAnnotations() (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	if f.file != "" {
		data, err := readFile(f.file, maxAnnotationFile)
		if err != nil {
			return nil, hint(fmt.Errorf("invalid annotation json file: failed to load annotations from %q: %w", f.file, cause(err)),
				"Name a JSON file that is there with --annotation-file: a path begins in the working directory")
		}
		if err := oras.DecodeJSON(data, &all); err != nil {
			return nil, hint(fmt.Errorf("invalid annotation json file: failed to load annotations from %q: %w", f.file, err),
				`An annotation file is a JSON object: {"$manifest": {"key": "value"}, "$config": {"key": "value"}, "<file>": {"key": "value"}}`)
		}
	}
	if len(f.pairs) == 0 {
		return all, nil
	}
	if f.file != "" {
		return nil, errors.New("`--annotation` and `--annotation-file` cannot be both specified")
	}
	manifest, err := parsePairs(f.pairs)
	all[annotationsOfManifest] = manifest
	return all, err
}

// parsePairs parses --annotation key=value.
func parsePairs(pairs []string) (map[string]string, error) {
	annotations := map[string]string{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, hint(errors.New("annotation value doesn't match the required format"),
				`Please use the correct format in the flag: --annotation "key=value"`)
		}
		if _, twice := annotations[key]; twice {
			return nil, fmt.Errorf("duplicate annotation key: %s, %s", key, pair)
		}
		annotations[key] = value
	}
	return annotations, nil
}

// merge returns the annotations of a over those of b; nil if there are none.
func merge(a, b map[string]string) map[string]string {
	if len(a) == 0 && len(b) == 0 {
		return nil
	}
	all := map[string]string{}
	maps.Copy(all, b)
	maps.Copy(all, a)
	return all
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file, limit)
}
