package oras

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// ParsePlatform parses os[/arch][/variant][:os_version], such as "linux/arm/v7".
// An architecture that is not given is that of this program. What is not a
// platform is [ErrReference].
func ParsePlatform(s string) (*Platform, error) {
	names, version, _ := strings.Cut(s, ":")
	parts := strings.Split(names, "/")
	p := &Platform{OS: parts[0], Architecture: runtime.GOARCH, OSVersion: version}
	if len(parts) > 1 {
		p.Architecture = parts[1]
	}
	if len(parts) > 2 {
		p.Variant = parts[2]
	}
	if p.OS == "" || p.Architecture == "" || len(parts) > 3 {
		return nil, fmt.Errorf("%w: %q is not a platform of the form os[/arch][/variant][:os_version]", ErrReference, s)
	}
	return p, nil
}

// matches reports whether what runs on want may be chosen to be p: variant,
// version and features count where want names them.
func matches(p, want *Platform) bool {
	if p == nil || p.OS != want.OS || p.Architecture != want.Architecture ||
		want.Variant != "" && p.Variant != want.Variant ||
		want.OSVersion != "" && p.OSVersion != want.OSVersion {
		return false
	}
	for _, feature := range want.OSFeatures {
		if !slices.Contains(p.OSFeatures, feature) {
			return false
		}
	}
	return true
}

// SelectPlatform returns the manifest for platform that root stands for: the
// first match of an index, or root itself if it is an image for platform. None is
// [ErrNotFound]; a manifest that says nothing of platforms is [ErrUnsupported].
func SelectPlatform(ctx context.Context, f Fetcher, root Descriptor, platform *Platform) (Descriptor, error) {
	if !IsManifest(root.MediaType) {
		return Descriptor{}, noPlatforms(root)
	}
	m, err := ReadManifest(ctx, f, root)
	if err != nil {
		return Descriptor{}, err
	}
	return selectPlatform(ctx, f, root, m, platform)
}

func noPlatforms(root Descriptor) error {
	return fmt.Errorf("%s: choosing a platform of %s: %w", root.Digest, root.MediaType, ErrUnsupported)
}

func selectPlatform(ctx context.Context, f Fetcher, root Descriptor, m *Manifest, platform *Platform) (Descriptor, error) {
	if IsIndex(root.MediaType) {
		for _, d := range m.Manifests {
			if matches(d.Platform, platform) {
				return d, nil
			}
		}
		return Descriptor{}, fmt.Errorf("%s: no manifest for platform %s: %w", root.Digest, formatPlatform(platform), ErrNotFound)
	}
	p, err := imagePlatform(ctx, f, m)
	if err != nil {
		return Descriptor{}, fmt.Errorf("%s: %w", root.Digest, err)
	}
	if !matches(p, platform) {
		return Descriptor{}, fmt.Errorf("%s: it is for platform %s, not %s: %w", root.Digest, formatPlatform(p), formatPlatform(platform), ErrNotFound)
	}
	return root, nil
}

// imagePlatform reads the platform from the config of an image.
func imagePlatform(ctx context.Context, f Fetcher, m *Manifest) (*Platform, error) {
	const dockerConfig = "application/vnd.docker.container.image.v1+json"
	if m.Config == nil || m.Config.MediaType != MediaTypeImageConfig && m.Config.MediaType != dockerConfig {
		return nil, fmt.Errorf("its config says nothing of platforms: %w", ErrUnsupported)
	}
	data, err := FetchAll(ctx, f, *m.Config)
	if err != nil {
		return nil, err
	}
	p, err := parsePlatform(data)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", m.Config.Digest, err)
	}
	return p, nil
}

// parsePlatform reads the members of an image's config that are those of a platform
// (image-spec, config.md). Only their exact names count; all others, such as labels,
// are up to the config's author.
func parsePlatform(data []byte) (*Platform, error) {
	var members map[string]json.RawMessage
	if err := DecodeJSON(data, &members); err != nil {
		return nil, err
	}
	var p Platform
	for name, field := range map[string]any{
		"architecture": &p.Architecture,
		"os":           &p.OS,
		"os.version":   &p.OSVersion,
		"os.features":  &p.OSFeatures,
		"variant":      &p.Variant,
	} {
		if value, ok := members[name]; ok {
			if err := json.Unmarshal(value, field); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
			}
		}
	}
	return &p, nil
}

func formatPlatform(p *Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	if p.OSVersion != "" {
		s += ":" + p.OSVersion
	}
	return s
}
