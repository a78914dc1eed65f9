package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/layout"
)

// A target is what a reference and its flags mean: a repository of a registry, or
// an OCI image layout. Nothing else opens stores.
type target struct {
	remoteFlags
	layout     bool   // --oci-layout
	layoutPath string // --oci-layout-path

	raw    string   // as the user gave it, with its first tag only
	name   string   // registry/repository, or the path of the layout
	tags   []string // in the order given
	digest oras.Digest
	ref    oras.Reference // of a repository
}

// register registers the flags of a target. With a prefix it is one side of a
// copy.
func (t *target) register(fs *pflag.FlagSet, prefix, side string) {
	t.remoteFlags.register(fs, prefix, side)
	t.registerLayout(fs, prefix, side)
}

func (t *target) registerLayout(fs *pflag.FlagSet, prefix, side string) {
	if side != "" {
		side += " "
	}
	fs.BoolVar(&t.layout, prefix+"oci-layout", false, "set "+side+"target as an OCI image layout")
	fs.StringVar(&t.layoutPath, prefix+"oci-layout-path", "", "[Experimental] set the path for the "+side+"OCI image layout target")
}

func (t *target) isLayout() bool { return t.layout || t.layoutPath != "" }

// parse reads the reference raw and checks the flags.
func (t *target) parse(raw string) error {
	if err := t.check(); err != nil {
		return err
	}
	if t.isLayout() {
		return t.parseLayout(raw)
	}
	ref, err := oras.ParseReference(raw)
	if err != nil {
		return hint(err, "Please make sure the provided reference is in the form of <registry>/<repo>[:tag|@digest]%s%s", withoutScheme(raw), t.withLayout(raw))
	}
	t.ref, t.name, t.tags, t.digest = ref, ref.Name(), ref.Tags, ref.Digest
	t.raw = firstTag(raw, ref.Tags)
	return nil
}

// withoutScheme ends the hint on a reference that begins like a URL.
func withoutScheme(raw string) string {
	switch {
	case strings.HasPrefix(raw, "http://"):
		return `, without "http://"; for a registry without TLS there is --plain-http`
	case strings.HasPrefix(raw, "https://"):
		return `, without "https://"`
	}
	return ""
}

// withLayout ends the hint on what is no reference of a registry and looks like that
// of a layout: it begins as a relative path does, or something is there.
func (t *target) withLayout(raw string) string {
	path, _, _, err := oras.SplitReference(raw)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(path); err != nil && !strings.HasPrefix(path, ".") {
		return ""
	}
	return fmt.Sprintf("\nFor an OCI image layout at that path, use --%soci-layout", t.prefix)
}

func (t *target) parseLayout(raw string) (err error) {
	if len(t.headers) > 0 {
		return errors.New("custom header flags cannot be used on an OCI image layout target")
	}
	if t.layoutPath != "" {
		t.name = t.layoutPath
		if d, err := oras.ParseDigest(raw[strings.LastIndex(raw, "@")+1:]); err == nil {
			t.digest = d
		} else if raw != "" {
			t.tags = strings.Split(raw, ",")
		}
	} else if t.name, t.tags, t.digest, err = oras.SplitReference(raw); err != nil {
		return fmt.Errorf("%q: %w", raw, err)
	}
	t.raw = firstTag(raw, t.tags)
	if t.name == "" {
		return fmt.Errorf("%q: %w: no path of an OCI image layout", raw, oras.ErrReference)
	}
	return nil
}

// firstTag returns raw without the tags behind the first.
func firstTag(raw string, tags []string) string {
	if len(tags) < 2 {
		return raw
	}
	list := strings.Join(tags, ",")
	i := strings.LastIndex(raw, list) // behind the name, in front of a digest
	return raw[:i] + tags[0] + raw[i+len(list):]
}

// reference returns what Resolve takes: a digest or a tag, or the empty string.
func (t *target) reference() string {
	return oras.Reference{Tags: t.tags, Digest: t.digest}.Target()
}

// requireReference is parse for commands that need a tag or a digest.
func (t *target) requireReference(cmd *cobra.Command, raw string) error {
	if err := t.parse(raw); err != nil {
		return err
	}
	if t.reference() == "" {
		return noReference(cmd, raw, "")
	}
	return nil
}

// requireOne is requireReference for commands that take one manifest.
func (t *target) requireOne(cmd *cobra.Command, raw string) error {
	return firstError(func() error { return t.requireReference(cmd, raw) }, func() error { return t.refuseList(raw) })
}

// refuseList refuses a list of tags where only the first would count.
func (t *target) refuseList(raw string) error {
	if len(t.tags) < 2 {
		return nil
	}
	return hint(fmt.Errorf("%q: %w: invalid tag %q", raw, oras.ErrReference, strings.Join(t.tags, ",")),
		"Please name one tag or digest")
}

// noReference is the error where a tag or digest is missing; question is put in
// front of the hint.
func noReference(cmd *cobra.Command, raw, question string) error {
	return &usageError{
		err:   fmt.Errorf("%q: no tag or digest specified", raw),
		usage: usageLine(cmd),
		hint:  fmt.Sprintf(`%sPlease specify a reference in the form of "<name>:<tag>" or "<name>@<digest>". Run %q for more options and examples`, question, cmd.CommandPath()+" -h"),
	}
}

// requireDigest is parse for commands that need a digest.
func (t *target) requireDigest(cmd *cobra.Command, raw string) error {
	if err := t.parse(raw); err != nil {
		return err
	}
	if !t.digest.IsZero() {
		return nil
	}
	err := fmt.Errorf("%q: no digest specified", raw)
	if len(t.tags) > 0 {
		const format = "invalid checksum digest format"
		if cmd.Name() == "delete" {
			return errors.New(format)
		}
		err = fmt.Errorf("%w: %q: %s", err, t.tags[0], format)
	}
	return &usageError{
		err:   err,
		usage: usageLine(cmd),
		hint:  fmt.Sprintf(`Please specify a reference in the form of "<name>@<digest>". Run %q for more options and examples`, cmd.CommandPath()+" -h"),
	}
}

// kind names the sort of target in the output.
func (t *target) kind() string {
	if t.isLayout() {
		return "oci-layout"
	}
	return "registry"
}

// String returns the target as output names it: "[registry] host/repo:tag".
func (t *target) String() string { return fmt.Sprintf("[%s] %s", t.kind(), t.raw) }

// at returns the reference of desc at the target, by digest.
func (t *target) at(desc oras.Descriptor) string { return t.name + "@" + string(desc.Digest) }

// A store is what commands work on; both kinds of target are complete.
type store interface{ oras.Store }

// openRead opens the target for reading: a layout that is not there is an error.
func (t *target) openRead(ctx context.Context, env *environment) (store, error) {
	if !t.isLayout() {
		return env.repository(ctx, &t.remoteFlags, t.ref)
	}
	if _, err := os.Stat(t.name); err != nil {
		return nil, hint(fmt.Errorf("failed to access OCI image layout: %s: %w", t.name, cause(err)), makesLayout)
	}
	s, err := openLayout(ctx, t.name, layout.OpenReadOnly)
	if isTar(t.name) && errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, withHint(err, cutOff)
	}
	if err != nil {
		return nil, withHint(err, makesLayout)
	}
	return s, nil
}

// openWrite opens the target for writing: a layout comes to be if need be.
func (t *target) openWrite(ctx context.Context, env *environment) (store, error) {
	if !t.isLayout() {
		return env.repository(ctx, &t.remoteFlags, t.ref)
	}
	if info, err := os.Stat(t.name); err == nil && !info.IsDir() {
		return nil, hint(fmt.Errorf("%s: an OCI image layout in a file can only be read", t.name), "Name a directory to write to")
	}
	return createLayout(ctx, t.name)
}

// openExisting opens the target for writing to what is there: no layout comes to
// be.
func (t *target) openExisting(ctx context.Context, env *environment) (store, error) {
	if t.isLayout() {
		if _, err := t.openRead(ctx, env); err != nil {
			return nil, err
		}
	}
	return t.openWrite(ctx, env)
}

// explain makes errors of work on the target say what the store, which knows only
// its own part, cannot: which layout something is not in, where a login was looked
// for, and what there is instead.
func (t *target) explain(env *environment, err error) error {
	if !t.isLayout() {
		err = env.explain(&t.remoteFlags, t.ref.Registry, err)
	}
	if !errors.Is(err, oras.ErrNotFound) {
		switch {
		case t.isLayout():
			return unwrittenLayout(t.name, err)
		case errors.Is(err, oras.ErrInvalid) && errors.As(err, new(*json.SyntaxError)):
			return withHint(fmt.Errorf("%s: %w", t.name, err), "What answers there may be no registry: check its name, or ask who runs it")
		}
		return err
	}
	if t.isLayout() {
		err = fmt.Errorf("%s: %w", t.name, err)
	}
	return withHint(err, t.missing(err))
}
