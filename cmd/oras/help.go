package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// docs/cli.md is made of the help of all commands.
//
//go:generate go test -run TestGuide -update .

// rootHelp is the help of the program: what is true of all commands.
const rootHelp = `Push, attach, discover, copy and pull any file in OCI registries and OCI image layouts

A reference names an artifact in a registry: <registry>/<repository>:<tag>, or
@<digest> in place of the tag. Registries are reached by HTTPS, those called
localhost by HTTP. With --oci-layout the reference is the path of an OCI image
layout, a directory or a tar archive: <path>:<tag>; with --oci-layout-path <path>
it is the tag alone.

Results, and in text what is done meanwhile, are printed to standard output: with
"--format json", ndjson or go-template, where a command has them, the result alone or
events in that form. Errors and warnings go to standard error. The exit status is 0, or
1 after an error.

Environment variables:
  ORAS_<FLAG>          value of a flag that is not on the command line: its name in
                       capitals, with _ for -, such as ORAS_CA_FILE for --ca-file
  ORAS_CACHE           directory, for any number of processes, that keeps the content
                       that "pull", "blob fetch", "manifest fetch" and "manifest
                       fetch-config" read, and has it ready for the next time
  ORAS_ALLOW_REALMS    hosts, with commas between, that are token services of the
                       registries in use, where their names do not say so
  DOCKER_CONFIG        directory of the file config.json that logins are kept in
  REGISTRY_AUTH_FILE   file that is asked for logins before that one, as podman does
  SOURCE_DATE_EPOCH    seconds since 1970 that are the time of what is made
  NO_COLOR             if it is not empty, nothing is printed in colours
`

// flagVariable returns the environment variable that sets a flag.
func flagVariable(flag string) string {
	return "ORAS_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// explainVariables makes the help of root, and of the commands below it, say which
// variables their flags can be set by.
func explainVariables(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		help(cmd, args)
		example := ""
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if example == "" && settable(f) {
				example = f.Name
			}
		})
		if example != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "\nEach flag can be set by an environment variable, too: --%s by %s.\n", example, flagVariable(example))
		}
	})
}

// settable reports whether an environment variable can set the flag. Those that are
// deprecated cannot: --output of discover is none of what it is elsewhere.
func settable(f *pflag.Flag) bool {
	return f.Name != "help" && !f.Hidden && !strings.HasPrefix(f.Usage, "[Deprecated]")
}
