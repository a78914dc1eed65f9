package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/c73062ad/oras"
)

type discoverCommand struct {
	commonFlags
	ttyFlags
	formatFlags
	target
	platform     platformFlag
	artifactType string
	depth        int
	output       string // deprecated: --format
}

var (
	formatTree  = format{"tree", "Get referrers and print in tree format"}
	formatTable = format{"table", "[Deprecated] Get referrers and output in table format"}
)

func newDiscoverCommand(con console) *cobra.Command {
	var c discoverCommand
	cmd := &cobra.Command{
		Use:   "discover [flags] <name>{:<tag>|@<digest>}",
		Short: "[Preview] Discover referrers of a manifest in a registry or an OCI image layout",
		Long: `[Preview] Discover referrers of a manifest in a registry or an OCI image layout

** This command is in preview and under development. **

Example - Show what refers to an artifact, and what refers to that:
  oras discover localhost:5000/hello:v1

Example - Show what refers to it directly:
  oras discover --depth 1 localhost:5000/hello:v1

Example - Show referrers of one type:
  oras discover --artifact-type application/spdx+json localhost:5000/hello:v1

Example - Print referrers as JSON, or a part of it:
  oras discover localhost:5000/hello:v1 --format json
  oras discover localhost:5000/hello:v1 --format go-template --template "{{range .referrers}}{{println .digest}}{{end}}"

Example - Discover in a registry that lists referrers in a certain way:
  oras discover --distribution-spec v1.1-referrers-api localhost:5000/hello:v1 # by its API
  oras discover --distribution-spec v1.1-referrers-tag localhost:5000/hello:v1 # under a tag

Example - Discover in the OCI image layout directory "layout-dir":
  oras discover --oci-layout layout-dir:v1
`,
		Args: exactly(1, "the target artifact to discover referrers from"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.ttyFlags.register(fs, "colors")
	c.formatFlags.register(fs, formatTable,
		format{formatJSON.name, "Get referrers and output in JSON format"},
		format{formatTemplate.name, "Print referrers using the given Go template"},
		formatTree)
	c.target.register(fs, "", "")
	c.registerDistributionSpec(fs, "")
	c.platform.register(fs, "platform", "request platform")
	fs.StringVar(&c.artifactType, "artifact-type", "", "artifact type")
	fs.IntVar(&c.depth, "depth", 0, "[Experimental] level of referrers to display, if unused shows referrers of all levels")
	fs.StringVarP(&c.output, "output", "o", "tree", "[Deprecated] format in which to display referrers (table, json, or tree).")
	return cmd
}

func (c *discoverCommand) run(cmd *cobra.Command, con console, raw string) error {
	ctx, fs := cmd.Context(), cmd.Flags()
	old := fs.Changed("output")
	switch {
	case old && fs.Changed("format"):
		return exclusive("format", "output")
	case old:
		c.formatFlags.value = c.output
	}
	if err := firstError(c.parseFormat, c.platform.parse); err != nil {
		return err
	}
	if fs.Changed("depth") && c.depth < 1 {
		return errors.New("depth value should be at least 1")
	}
	if old {
		fmt.Fprintln(con.err, "[DEPRECATED] --output is deprecated, try `--format ` instead")
	} else if c.formatFlags.value == formatTable.name {
		fmt.Fprintf(con.err, "Format %q is deprecated and will be removed in a future release.\n", formatTable.name)
	}
	if err := c.requireOne(cmd, raw); err != nil {
		return err
	}
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	src, err := c.openRead(ctx, env)
	if err != nil {
		return err
	}
	r, err := c.discover(ctx, src)
	if err != nil {
		return c.explain(env, err)
	}
	if old {
		r.References = r.Referrers
	}
	r.coloured = con.terminal().coloured()
	return c.formatFlags.write(con.out, r)
}

func (c *discoverCommand) discover(ctx context.Context, src store) (*discoverResult, error) {
	root, err := resolve(ctx, src, c.reference(), c.platform.platform)
	if err != nil {
		return nil, err
	}
	w := walk{command: c, src: src, seen: map[string]bool{string(root.Digest): true}, depth: c.depth}
	if c.formatFlags.value == formatTable.name {
		w.depth = 1
	}
	node := newDiscovered(&c.target, root)
	if node.Referrers, err = w.referrers(ctx, root, 0); err != nil {
		return nil, err
	}
	return &discoverResult{discovered: node, command: c}, nil
}

// Limits on what a registry could make endless, those of [oras.Copy].
const (
	maxDiscoverDepth = 100
	maxDiscovered    = 1_000_000
)

// A walk lists referrers of referrers.
type walk struct {
	command *discoverCommand
	src     store
	depth   int             // to which it goes; 0 is as deep as there are any
	seen    map[string]bool // on the way from the root, so that no circle is walked
	found   int
}

// referrers lists those of node, which lies level below the root.
func (w *walk) referrers(ctx context.Context, node oras.Descriptor, level int) ([]discovered, error) {
	all := []discovered{}
	if w.depth > 0 && level == w.depth {
		return all, nil
	}
	var found []oras.Descriptor
	err := oras.Referrers(ctx, w.src, node, w.command.artifactType, func(page []oras.Descriptor) error {
		found = append(found, page...)
		if w.found += len(page); w.found > maxDiscovered {
			return fmt.Errorf("more than %d referrers: %w", maxDiscovered, oras.ErrInvalid)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(found) > 0 && level == maxDiscoverDepth {
		return nil, fmt.Errorf("%s: referrers of referrers to a depth of more than %d: %w", w.command.raw, maxDiscoverDepth, oras.ErrInvalid)
	}
	for _, desc := range found {
		d := newDiscovered(&w.command.target, desc)
		d.Referrers = []discovered{}
		if digest := string(desc.Digest); !w.seen[digest] {
			w.seen[digest] = true
			if d.Referrers, err = w.referrers(ctx, desc, level+1); err != nil {
				return nil, err
			}
			delete(w.seen, digest)
		}
		all = append(all, d)
	}
	return all, nil
}

// A discovered is a descriptor as results show it, with its full reference.
type discovered struct {
	Reference    string            `json:"reference"`
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Referrers    []discovered      `json:"referrers,omitzero"`
}

func newDiscovered(t *target, desc oras.Descriptor) discovered {
	return discovered{
		Reference: t.at(desc), MediaType: desc.MediaType, Digest: string(desc.Digest), Size: desc.Size,
		Annotations: desc.Annotations, ArtifactType: desc.ArtifactType,
	}
}

// discoverResult is what discover prints.
type discoverResult struct {
	discovered
	References []discovered `json:"references,omitzero"` // what scripts of the first versions read

	command  *discoverCommand
	coloured bool
}

func (r *discoverResult) text(w io.Writer) error {
	if r.command.formatFlags.value == formatTable.name {
		return r.table(w)
	}
	root := &tree{label: r.Reference, colour: r.colour(brightGreen)}
	r.grow(root, r.Referrers)
	return root.print(w)
}

func (r *discoverResult) grow(parent *tree, referrers []discovered) {
	for _, d := range referrers {
		node := parent.child(unknownIfEmpty(d.ArtifactType), r.colour(brightYellow)).child(d.Digest, r.colour(brightGreen))
		if r.command.verbose && len(d.Annotations) > 0 {
			annotations := node.child("[annotations]", r.colour(brightCyan))
			for _, key := range slices.Sorted(maps.Keys(d.Annotations)) {
				annotations.child(yamlPair(key, d.Annotations[key]), "")
			}
		}
		r.grow(node, d.Referrers)
	}
}

// colour returns c where there are colours.
func (r *discoverResult) colour(c colour) colour {
	if !r.coloured {
		return ""
	}
	return c
}

func unknownIfEmpty(artifactType string) string {
	if artifactType == "" {
		return "<unknown>"
	}
	return artifactType
}

// yamlPair returns key: value as YAML has it.
func yamlPair(key, value string) string {
	data, err := yaml.Marshal(map[string]string{key: value})
	if err != nil {
		return key + ": " + value
	}
	return strings.TrimSpace(string(data))
}

func (r *discoverResult) table(w io.Writer) error {
	artifacts := "artifacts"
	if len(r.Referrers) == 1 {
		artifacts = "artifact"
	}
	fmt.Fprintf(w, "Discovered %d %s referencing %s\nDigest: %s\n", len(r.Referrers), artifacts, r.command.raw, r.Digest)
	if len(r.Referrers) == 0 {
		return nil
	}
	const header = "Artifact Type"
	width := len(header)
	for _, d := range r.Referrers {
		width = max(width, len(d.ArtifactType))
	}
	fmt.Fprintf(w, "\n%-*s   %s\n", width, header, "Digest")
	for _, d := range r.Referrers {
		fmt.Fprintf(w, "%-*s   %s\n", width, printable(d.ArtifactType), d.Digest)
		if r.command.verbose {
			d.Reference, d.Referrers = "", nil
			if err := writeJSON(w, tableEntry{d.MediaType, d.Digest, d.Size, d.Annotations, d.ArtifactType}); err != nil {
				return err
			}
		}
	}
	return nil
}

// tableEntry is what a table shows below each row.
type tableEntry struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
}
