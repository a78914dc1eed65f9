package main

import (
	"github.com/spf13/cobra"
)

func newManifestDeleteCommand(con console) *cobra.Command {
	c := deleteCommand{noun: "manifest", question: "Are you sure you want to delete the manifest %q and all tags associated with it?"}
	cmd := &cobra.Command{
		Use:     "delete [flags] <name>{:<tag>|@<digest>}",
		Aliases: []string{"remove", "rm"},
		Short:   "Delete a manifest from a registry or an OCI image layout",
		Long: `Delete a manifest, with all its tags, from a registry or an OCI image layout

Example - Delete what is tagged "v1", after a question:
  oras manifest delete localhost:5000/hello:v1

Example - Delete without a question:
  oras manifest delete --force localhost:5000/hello:v1

Example - Delete and print the descriptor of what was deleted:
  oras manifest delete --force --descriptor localhost:5000/hello:v1

Example - Delete by digest:
  oras manifest delete localhost:5000/hello@sha256:99e4703fbf30916f549cd6bfa9cdbab614b5392fbe64fdee971359a77073cdf9

Example - Delete from the OCI image layout directory "layout-dir":
  oras manifest delete --oci-layout layout-dir:v1
`,
		Args: exactly(1, "the manifest to delete"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), con, func() error { return c.requireOne(cmd, args[0]) })
		},
	}
	c.register(cmd)
	c.registerDistributionSpec(cmd.Flags(), "")
	return cmd
}
