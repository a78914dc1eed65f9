package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

type attachCommand struct {
	commonFlags
	ttyFlags
	formatFlags
	packFlags
	target
	platform platformFlag
}

func newAttachCommand(con console) *cobra.Command {
	var c attachCommand
	cmd := &cobra.Command{
		Use:   "attach [flags] --artifact-type=<type> <name>{:<tag>|@<digest>} {<file>[:<layer_media_type>]|--annotation <key>=<value>} [...]",
		Short: "Attach files to an existing artifact",
		Long: `Attach files to an existing artifact

Example - Attach the file "hi.txt" to an artifact, as one of the type "doc/example":
  oras attach --artifact-type doc/example localhost:5000/hello:v1 hi.txt

Example - Attach an SBOM with its media type:
  oras attach --artifact-type application/spdx+json localhost:5000/hello:v1 sbom.json:application/spdx+json

Example - Attach to what an index has for a platform:
  oras attach --artifact-type doc/example --platform linux/amd64 localhost:5000/hello:v1 hi.txt

Example - Attach annotations only, or with a file, or from a file:
  oras attach --artifact-type doc/example --annotation "key1=val1" --annotation "key2=val2" localhost:5000/hello:v1
  oras attach --artifact-type doc/example --annotation "key=val" localhost:5000/hello:v1 hi.txt
  oras attach --artifact-type doc/example --annotation-file annotation.json localhost:5000/hello:v1 hi.txt

Example - Attach to an artifact in a registry that lists referrers in a certain way:
  oras attach --artifact-type doc/example --distribution-spec v1.1-referrers-api localhost:5000/hello:v1 hi.txt # by its API
  oras attach --artifact-type doc/example --distribution-spec v1.1-referrers-tag localhost:5000/hello:v1 hi.txt # under a tag

Example - Attach and print the result as JSON, or a part of it:
  oras attach --artifact-type doc/example localhost:5000/hello:v1 hi.txt --format json
  oras attach --artifact-type doc/example localhost:5000/hello:v1 hi.txt --format go-template --template "{{.digest}}"

Example - Attach in the OCI image layout directory "layout-dir":
  oras attach --oci-layout --artifact-type doc/example layout-dir:v1 hi.txt
`,
		Args: atLeast(1, "the destination artifact for attaching."),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0], args[1:]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.ttyFlags.register(fs, "progress bars")
	c.formatFlags.registerTransfer(fs)
	c.packFlags.register(fs)
	c.target.register(fs, "", "")
	c.registerDistributionSpec(fs, "")
	c.platform.register(fs, "platform", "attach to an arch-specific subject")
	requireFlag(cmd, "artifact-type")
	return cmd
}

// parse checks arguments and flags, and returns the annotations.
func (c *attachCommand) parse(cmd *cobra.Command, raw string, names []string) (map[string]map[string]string, error) {
	if c.packFlags.config != "" && c.platform.text != "" {
		return nil, exclusive("config", "platform")
	}
	if c.packFlags.config == "" && cmd.Flags().Changed("config") {
		_, _, err := parseFile("", oras.MediaTypeUnknownConfig)
		return nil, err
	}
	if err := firstError(c.checkConfig, c.checkExport); err != nil {
		return nil, err
	}
	annotations, err := c.parseAnnotations()
	if err != nil {
		return nil, err
	}
	if err := firstError(c.parseFormat, c.platform.parse, func() error { return c.checkPaths(names) },
		func() error { return c.target.parse(raw) }); err != nil {
		return nil, err
	}
	if c.artifactType == "" && c.packFlags.config == "" {
		return nil, hint(errors.New("missing artifact type"), "set an artifact type via `--artifact-type`")
	}
	if c.reference() == "" {
		question := ""
		if len(names) == 0 {
			question = "Are you missing an artifact reference to attach to? "
		}
		return nil, noReference(cmd, raw, question)
	}
	if err := c.refuseList(raw); err != nil {
		return nil, err
	}
	if len(names) == 0 && len(annotations[annotationsOfManifest]) == 0 {
		return nil, &usageError{
			err:   errNothingToAttach,
			usage: usageLine(cmd),
			hint:  fmt.Sprintf("To attach to an existing artifact, please provide files via argument or annotations via flag %q. Run %q for more options and examples", "--annotation", cmd.CommandPath()+" -h"),
		}
	}
	return annotations, nil
}

func (c *attachCommand) run(cmd *cobra.Command, con console, raw string, names []string) error {
	ctx := cmd.Context()
	annotations, err := c.parse(cmd, raw, names)
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
	checkTypes(env, names)
	checkNames(env, names, annotations)
	dst, err := c.openExisting(ctx, env)
	if err != nil {
		return err
	}
	subject, err := resolve(ctx, dst, c.reference(), c.platform.platform)
	if err != nil {
		return c.explain(env, err)
	}
	out := newTextOutput(con, &c.formatFlags, &c.commonFlags, pushVerbs)
	opts := &oras.PackOptions{
		ArtifactType:      c.artifactType,
		Annotations:       annotations[annotationsOfManifest],
		ConfigAnnotations: annotations[annotationsOfConfig],
		Created:           created,
		Subject:           &oras.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	}
	if c.packFlags.config != "" {
		if opts.Config, err = addConfig(ctx, files, c.packFlags.config, annotations[annotationsOfConfig]); err != nil {
			return err
		}
	}
	arguments, err := c.parseFiles(names, annotations, out.preparing)
	if err != nil {
		return err
	}
	s := newSender(files, &c.packFlags, out)
	defer s.Close()
	if !c.isLayout() {
		s.open(dst, c.name)
	}
	if opts.Layers, err = s.add(ctx, arguments); err != nil {
		return s.resumable(c.explain(env, err))
	}
	desc, err := s.push(ctx, dst, opts, &c.packFlags, nil)
	if err != nil {
		return s.resumable(c.explain(env, err))
	}
	r := attachResult{*newPushResult(&c.target, desc), subject}
	r.ReferenceAsTags = nil // what is attached has no tag
	return unprinted(c.formatFlags.write(con.out, &r))
}

// attachResult is what attach prints.
type attachResult struct {
	pushResult
	subject oras.Descriptor
}

func (r *attachResult) text(w io.Writer) error {
	fmt.Fprintf(w, "Attached to [%s] %s\n", r.target.kind(), r.target.at(r.subject))
	_, err := fmt.Fprintln(w, "Digest:", r.Digest)
	return err
}
