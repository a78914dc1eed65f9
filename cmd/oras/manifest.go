package main

import (
	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
)

func newManifestCommand(con console) *cobra.Command {
	return parent("manifest [command]", "Manifest operations",
		newManifestFetchCommand(con),
		newManifestFetchConfigCommand(con),
		newManifestPushCommand(con),
		newManifestDeleteCommand(con),
		newManifestIndexCommand(con),
	)
}

// plain returns what --descriptor shows of desc from a registry.
func plain(desc oras.Descriptor) oras.Descriptor {
	return oras.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
}
