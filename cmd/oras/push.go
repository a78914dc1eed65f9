package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/file"
)

type pushCommand struct {
	commonFlags
	ttyFlags
	formatFlags
	packFlags
	target
	platform  platformFlag
	imageSpec imageSpec
	subject   string
	files     []string
}

func newPushCommand(con console) *cobra.Command {
	var c pushCommand
	cmd := &cobra.Command{
		Use:   "push [flags] <name>[:<tag>[,<tag>][...]] <file>[:<type>] [...]",
		Short: "Push files to a registry or an OCI image layout",
		Long: `Push files to a registry or an OCI image layout

Example - Push the file "hi.txt":
  oras push localhost:5000/hello:v1 hi.txt

Example - Push files with media types of their own, and say what kind of artifact they make:
  oras push --artifact-type application/vnd.example.type localhost:5000/hello:v1 hi.txt:text/plain logo.png:image/png

Example - Push a file with a colon in its name:
  oras push localhost:5000/hello:v1 hi:txt:

Example - Push a directory; it is packed, and unpacked by "oras pull":
  oras push localhost:5000/hello:v1 ./docs

Example - Push under several tags:
  oras push localhost:5000/hello:v1,stable,latest hi.txt

Example - Push a large file; if that is broken off, by the network or a kill, the same command goes on where it stopped:
  oras push localhost:5000/hello:v1 large.bin

Example - Push with annotations of the manifest, or of each part from a file:
  oras push --annotation "key=value" localhost:5000/hello:v1 hi.txt
  oras push --annotation-file annotation.json localhost:5000/hello:v1 hi.txt

Example - Push with a config file of the given media type:
  oras push --config config.json:application/vnd.me.config localhost:5000/hello:v1 hi.txt

Example - Push for a platform:
  oras push --artifact-platform linux/arm/v5 localhost:5000/hello:v1 hi.txt

Example - Push and print the result as JSON, or a part of it:
  oras push localhost:5000/hello:v1 hi.txt --format json
  oras push localhost:5000/hello:v1 hi.txt --format go-template="{{.digest}}"

Example - Push and print what happens, and in the end the result, as lines of JSON:
  oras push localhost:5000/hello:v1 hi.txt --format ndjson

Example - Push a directory compressed as little as possible, or not, or with what other clients may not unpack:
  oras push --compression gzip:1 localhost:5000/hello:v1 ./docs
  oras push --compression none localhost:5000/hello:v1 ./docs
  oras push --compression zstd localhost:5000/hello:v1 ./docs

Example - Push 2 MiB a second at most:
  oras push --limit-rate 2M localhost:5000/hello:v1 large.bin

Example - Push into the OCI image layout directory "layout-dir":
  oras push --oci-layout layout-dir:v1 hi.txt
  oras push --oci-layout-path layout-dir example.com/hello:v1 hi.txt
`,
		Args: atLeast(1, "the destination for pushing"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.files = args[1:]
			return c.run(cmd, con, args[0])
		},
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.ttyFlags.register(fs, "progress bars")
	c.formatFlags.registerTransfer(fs)
	c.packFlags.register(fs)
	c.target.register(fs, "", "")
	c.platform.register(fs, "artifact-platform", "[Experimental] set artifact platform")
	fs.Var(&c.imageSpec, "image-spec", "[Preview] specify manifest type for building artifact. Options: v1.1, v1.0 (default v1.1, overridden to v1.0 if --config is used without --artifact-type)")
	fs.StringVar(&c.subject, "subject", "", "manifest that the artifact refers to")
	fs.Lookup("subject").Hidden = true // older spelling of "oras attach"
	return cmd
}

// An imageSpec is the value of --image-spec.
type imageSpec string

const (
	imageSpec11 imageSpec = "v1.1"
	imageSpec10 imageSpec = "v1.0"
)

func (s *imageSpec) Set(text string) error {
	if text != string(imageSpec11) && text != string(imageSpec10) {
		return fmt.Errorf("unknown image specification flag: %s\nAvailable options: %s, %s", text, imageSpec11, imageSpec10)
	}
	*s = imageSpec(text)
	return nil
}

func (s *imageSpec) Type() string { return "string" }

func (s *imageSpec) String() string { return string(*s) }

// resolveSpec decides which image-spec the manifest follows.
func (c *pushCommand) resolveSpec() error {
	switch {
	case c.config != "" && c.platform.text != "":
		return exclusive("config", "artifact-platform")
	case c.imageSpec == "" && c.config != "" && c.artifactType == "":
		c.imageSpec = imageSpec10
	case c.imageSpec == "":
		c.imageSpec = imageSpec11
	}
	switch {
	case c.imageSpec == imageSpec10 && c.config != "" && c.artifactType != "":
		return errors.New("--artifact-type and --config cannot both be provided for 1.0 OCI image")
	case c.imageSpec == imageSpec10 && c.platform.text != "" && c.artifactType != "":
		return errors.New("--artifact-type and --artifact-platform cannot both be provided for 1.0 OCI image")
	case c.imageSpec == imageSpec11 && c.config != "" && c.artifactType == "":
		return hint(errors.New("missing artifact type for OCI image-spec v1.1 artifacts"),
			"set an artifact type via `--artifact-type` or consider image spec v1.0")
	case c.imageSpec == imageSpec11 && c.config == "" && c.artifactType == "":
		c.artifactType = oras.MediaTypeUnknownArtifact
	}
	return firstError(c.checkConfig, c.platform.parse)
}

// parse checks arguments and flags, and returns the annotations.
func (c *pushCommand) parse(raw string) (map[string]map[string]string, error) {
	annotations, err := c.parseAnnotations()
	if err != nil {
		return nil, err
	}
	err = firstError(c.parseFormat, c.resolveSpec, c.checkExport, func() error { return c.checkPaths(c.files) },
		func() error { return c.target.parse(raw) })
	if err == nil && !c.digest.IsZero() {
		err = hint(fmt.Errorf("%q: a digest cannot be chosen for what is pushed", raw),
			"Name tags or nothing behind %q: the digest is printed in the end", c.name)
	}
	return annotations, err
}

func (c *pushCommand) run(cmd *cobra.Command, con console, raw string) error {
	ctx := cmd.Context()
	annotations, err := c.parse(raw)
	if err != nil {
		return err
	}
	con = c.formatFlags.console(con)
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	env.transfer = c.transferFlags
	files, created, err := c.openFiles(env)
	if err != nil {
		return err
	}
	defer files.Close()
	checkTypes(env, c.files)
	checkNames(env, c.files, annotations)
	out := newTextOutput(con, &c.formatFlags, &c.commonFlags, pushVerbs)
	opts := &oras.PackOptions{
		ArtifactType:      c.artifactType,
		Annotations:       annotations[annotationsOfManifest],
		ConfigAnnotations: annotations[annotationsOfConfig],
		Created:           created,
		ImageSpec10:       c.imageSpec == imageSpec10,
	}
	if opts.Config, err = c.packConfig(ctx, files, annotations[annotationsOfConfig]); err != nil {
		return err
	}
	arguments, err := c.parseFiles(c.files, annotations, out.preparing)
	if err != nil {
		return err
	}
	s := newSender(files, &c.packFlags, out)
	defer s.Close()
	desc, err := c.send(ctx, env, s, arguments, opts)
	if err != nil {
		return s.resumable(c.target.explain(env, err))
	}
	return unprinted(c.formatFlags.write(con.out, newPushResult(&c.target, desc)))
}

// send makes the files an artifact at the target. A layout, which takes nothing whose
// digest is not known, comes to be only when there is something for it.
func (c *pushCommand) send(ctx context.Context, env *environment, s *sender, files []fileArgument, opts *oras.PackOptions) (desc oras.Descriptor, err error) {
	if c.isLayout() {
		if opts.Layers, err = s.add(ctx, files); err != nil {
			return desc, err
		}
	}
	dst, err := c.openWrite(ctx, env)
	if err != nil {
		return desc, err
	}
	if c.subject != "" {
		if opts.Subject, err = c.resolveSubject(ctx, dst); err != nil {
			return desc, err
		}
	}
	if !c.isLayout() {
		s.open(dst, c.name)
		if opts.Layers, err = s.add(ctx, files); err != nil {
			return desc, err
		}
	}
	return s.push(ctx, dst, opts, &c.packFlags, c.tags)
}

// packConfig returns the config that the flags ask for, if any.
func (c *pushCommand) packConfig(ctx context.Context, files *file.Store, annotations map[string]string) (*oras.Descriptor, error) {
	switch {
	case c.config != "":
		return addConfig(ctx, files, c.config, annotations)
	case c.platform.platform != nil:
		data, err := json.Marshal(c.platform.platform)
		if err != nil {
			return nil, err
		}
		desc, err := oras.PushBytes(ctx, files, oras.MediaTypeImageConfig, data)
		desc.Annotations = annotations
		return &desc, err
	}
	return nil, nil
}

// resolveSubject finds the manifest --subject names, in the repository pushed to.
func (c *pushCommand) resolveSubject(ctx context.Context, dst store) (*oras.Descriptor, error) {
	subject := c.target
	if err := firstError(func() error { return subject.parse(c.subject) }, func() error { return subject.refuseList(c.subject) }); err != nil {
		return nil, err
	}
	if subject.name != c.target.name {
		return nil, fmt.Errorf("--subject %s is not in %s: an artifact refers to what is in its own repository", c.subject, c.target.name)
	}
	desc, err := dst.Resolve(ctx, subject.reference())
	if err != nil {
		return nil, err
	}
	return &oras.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}, nil
}

// concurrency turns the flag's value, where 0 is no limit, into Copy's.
func concurrency(flag int) int {
	if flag <= 0 {
		return -1
	}
	return flag
}

// pushResult is what push and attach print.
type pushResult struct {
	Reference       string            `json:"reference"`
	MediaType       string            `json:"mediaType"`
	Digest          string            `json:"digest"`
	Size            int64             `json:"size"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	ArtifactType    string            `json:"artifactType"`
	ReferenceAsTags []string          `json:"referenceAsTags,omitzero"`

	target *target
}

func newPushResult(t *target, desc oras.Descriptor) *pushResult {
	return &pushResult{
		Reference: t.at(desc), MediaType: desc.MediaType, Digest: string(desc.Digest), Size: desc.Size,
		Annotations: desc.Annotations, ArtifactType: desc.ArtifactType, ReferenceAsTags: t.withTags(), target: t,
	}
}

// withTags returns the references of the target by each of its tags, sorted.
func (t *target) withTags() []string {
	references := []string{}
	for _, tag := range t.tags {
		references = append(references, t.name+":"+tag)
	}
	slices.Sort(references)
	return references
}

func (r *pushResult) text(w io.Writer) error {
	fmt.Fprintln(w, "Pushed", r.target)
	writeTagged(w, r.target)
	fmt.Fprintln(w, "ArtifactType:", r.ArtifactType)
	_, err := fmt.Fprintln(w, "Digest:", r.Digest)
	return err
}

// writeTagged prints the tags behind the first.
func writeTagged(w io.Writer, t *target) {
	for _, tag := range t.tags[min(1, len(t.tags)):] {
		fmt.Fprintln(w, "Tagged", tag)
	}
}
