package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

func newRepoCommand(con console) *cobra.Command {
	cmd := parent("repo [command]", "Repository operations",
		newRepoListCommand(con),
		newRepoTagsCommand(con),
	)
	cmd.Aliases = []string{"repository"}
	return cmd
}

type repoListCommand struct {
	commonFlags
	formatFlags
	remoteFlags
	last string
}

func newRepoListCommand(con console) *cobra.Command {
	var c repoListCommand
	cmd := &cobra.Command{
		Use:     "ls [flags] <registry>",
		Aliases: []string{"list"},
		Short:   "List the repositories under the registry",
		Long: `List the repositories under the registry

Example - List all repositories, or those below a namespace:
  oras repo ls localhost:5000
  oras repo ls localhost:5000/example-namespace

Example - List those behind a name:
  oras repo ls --last "last_repo" localhost:5000

Example - Print them as JSON, or with a template:
  oras repo ls localhost:5000 --format json
  oras repo ls localhost:5000 --format go-template --template "{{range .repositories}}{{println .}}{{end}}"
`,
		Args: exactly(1, "the target registry to list repositories from"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.formatFlags.register(fs)
	c.remoteFlags.register(fs, "", "")
	fs.StringVar(&c.last, "last", "", "start after the repository specified by `last`")
	return cmd
}

func (c *repoListCommand) run(cmd *cobra.Command, con console, raw string) error {
	ctx := cmd.Context()
	if err := firstError(c.parseFormat, c.check); err != nil {
		return err
	}
	host, namespace, err := parseNamespace(raw)
	if err != nil {
		return err
	}
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	registry, err := env.registry(&c.remoteFlags, host)
	if err != nil {
		return err
	}
	r := &repoListResult{Registry: host, Repositories: []string{}, namespace: namespace}
	err = registry.Repositories(ctx, c.last, func(names []string) error {
		for _, name := range names {
			if strings.HasPrefix(name, namespace) {
				r.Repositories = append(r.Repositories, name)
			}
		}
		return nil
	})
	if err != nil {
		return env.explain(&c.remoteFlags, host, err)
	}
	return c.formatFlags.write(con.out, r)
}

// parseNamespace splits "host/namespace"; the namespace ends with "/" or is empty.
func parseNamespace(raw string) (host, namespace string, err error) {
	path := strings.TrimSuffix(raw, "/")
	host, namespace, below := strings.Cut(path, "/")
	if err = oras.CheckRegistry(host); below && err == nil {
		var ref oras.Reference
		ref, err = oras.ParseReference(path)
		if err == nil && ref.Target() != "" {
			return "", "", errors.New("could not parse repository path: tags or digests should not be provided")
		}
		namespace += "/"
	}
	if err != nil {
		return "", "", hint(fmt.Errorf("could not parse repository path: %w", err),
			"Please make sure the provided path is in the form of <registry>[/<namespace>]%s", withoutScheme(raw))
	}
	return host, namespace, nil
}

// repoListResult is what repo ls prints.
type repoListResult struct {
	Registry     string   `json:"registry"`
	Repositories []string `json:"repositories"`

	namespace string // cut off the names in text
}

func (r *repoListResult) text(w io.Writer) error {
	for _, name := range r.Repositories {
		if _, err := fmt.Fprintln(w, strings.TrimPrefix(name, r.namespace)); err != nil {
			return err
		}
	}
	return nil
}

type repoTagsCommand struct {
	commonFlags
	formatFlags
	target
	last              string
	excludeDigestTags bool
}

func newRepoTagsCommand(con console) *cobra.Command {
	var c repoTagsCommand
	cmd := &cobra.Command{
		Use:     "tags [flags] <name>",
		Aliases: []string{"show-tags"},
		Short:   "Show tags of the target repository",
		Long: `Show tags of the target repository

Example - Show the tags of a repository:
  oras repo tags localhost:5000/hello

Example - Show those behind a tag, and not those that stand for a digest:
  oras repo tags --last v1 --exclude-digest-tags localhost:5000/hello

Example - [Experimental] Show the tags of one manifest:
  oras repo tags localhost:5000/hello:v1
  oras repo tags localhost:5000/hello@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a

Example - Print them as JSON, or with a template:
  oras repo tags localhost:5000/hello --format json
  oras repo tags localhost:5000/hello --format go-template --template "{{range .tags}}{{println .}}{{end}}"

Example - Show the tags of an OCI image layout, or of one repository in it:
  oras repo tags --oci-layout layout-dir
  oras repo tags --oci-layout-path layout-dir example.registry.com/foo
`,
		Args: exactly(1, "the target repository to list tags from"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.formatFlags.register(fs)
	c.target.register(fs, "", "")
	fs.StringVar(&c.last, "last", "", "start after the tag specified by `last`")
	fs.BoolVar(&c.excludeDigestTags, "exclude-digest-tags", false, "[Preview] exclude all digest-like tags such as 'sha256-aaaa...'")
	return cmd
}

func (c *repoTagsCommand) run(cmd *cobra.Command, con console, raw string) error {
	ctx := cmd.Context()
	if err := firstError(c.parseFormat, func() error { return c.parse(raw) }); err != nil {
		return err
	}
	if len(c.tags) > 1 {
		return c.requireOne(cmd, raw)
	}
	prefix := ""
	if c.layoutPath != "" { // raw is a repository whose tags the layout holds by their full names
		name, tags, digest, err := oras.SplitReference(raw)
		if err != nil {
			return err
		}
		if len(tags) == 0 && digest.IsZero() {
			prefix, c.tags = name+":", nil
			if c.last != "" && !strings.HasPrefix(c.last, prefix) {
				c.last = prefix + c.last
			}
		}
	}
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	src, err := c.openRead(ctx, env)
	if err != nil {
		return err
	}
	tags, err := c.list(ctx, con, src, prefix)
	if err != nil {
		return c.explain(env, err)
	}
	return c.formatFlags.write(con.out, &repoTagsResult{tags})
}

// digestTag is what registries without the referrers API name lists of referrers
// by: a digest in the form of a tag.
var digestTag = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(sha256-[0-9a-f]{64}|sha384-[0-9a-f]{96}|sha512-[0-9a-f]{128})$`)
})

// list returns the tags that begin with prefix, without it.
func (c *repoTagsCommand) list(ctx context.Context, con console, src store, prefix string) ([]string, error) {
	keep := func(string) (bool, error) { return true, nil }
	if c.reference() != "" {
		desc, err := src.Resolve(ctx, c.reference())
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(con.err, "[%s][WARNING]: [Experimental] querying tags associated to %s, it may take a while...\n\n\n\n",
			time.Now().UTC().Format(time.RFC3339Nano), desc.Digest)
		keep = func(tag string) (bool, error) {
			if slices.Contains(c.tags, tag) {
				return true, nil
			}
			other, err := src.Resolve(ctx, tag)
			if oras.Kind(err) == oras.ErrNotFound {
				return false, nil // untagged since
			}
			return other.Digest == desc.Digest, err
		}
	}
	tags := []string{}
	err := src.Tags(ctx, c.last, func(page []string) error {
		for _, tag := range page {
			short, ok := strings.CutPrefix(tag, prefix)
			if !ok || c.excludeDigestTags && digestTag().MatchString(short) {
				continue
			}
			ok, err := keep(tag)
			if err != nil {
				return err
			}
			if ok {
				tags = append(tags, short)
			}
		}
		return nil
	})
	return tags, err
}

// repoTagsResult is what repo tags prints.
type repoTagsResult struct {
	Tags []string `json:"tags"`
}

func (r *repoTagsResult) text(w io.Writer) error {
	for _, tag := range r.Tags {
		if _, err := fmt.Fprintln(w, printable(tag)); err != nil {
			return err
		}
	}
	return nil
}
