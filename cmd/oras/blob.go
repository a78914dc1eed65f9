package main

import (
	"github.com/spf13/cobra"
)

func newBlobCommand(con console) *cobra.Command {
	return parent("blob [command]", "Blob operations",
		newBlobFetchCommand(con),
		newBlobPushCommand(con),
		newBlobDeleteCommand(con),
	)
}
