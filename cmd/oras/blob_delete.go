package main

import (
	"github.com/spf13/cobra"
)

func newBlobDeleteCommand(con console) *cobra.Command {
	c := deleteCommand{noun: "blob", question: "Are you sure you want to delete the blob %q?"}
	cmd := &cobra.Command{
		Use:     "delete [flags] <name>@<digest>",
		Aliases: []string{"remove", "rm"},
		Short:   "Delete a blob from a registry or an OCI image layout",
		Long: `Delete a blob from a registry or an OCI image layout. What refers to it stays.

Example - Delete a blob, after a question:
  oras blob delete localhost:5000/hello@sha256:9a201d228ebd966211f7d1131be19f152be428bd373a92071c71d8deaf83b3e5

Example - Delete without a question:
  oras blob delete --force localhost:5000/hello@sha256:9a201d228ebd966211f7d1131be19f152be428bd373a92071c71d8deaf83b3e5

Example - Delete and print the descriptor of what was deleted:
  oras blob delete --force --descriptor localhost:5000/hello@sha256:9a201d228ebd966211f7d1131be19f152be428bd373a92071c71d8deaf83b3e5

Example - Delete from the OCI image layout directory "layout-dir":
  oras blob delete --oci-layout layout-dir@sha256:9a201d228ebd966211f7d1131be19f152be428bd373a92071c71d8deaf83b3e5
`,
		Args: exactly(1, "the target blob to delete"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), con, func() error { return c.requireDigest(cmd, args[0]) })
		},
	}
	c.register(cmd)
	return cmd
}
