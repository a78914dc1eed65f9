// Package storetest is the contract of [oras.Store] as a test. A store's own test
// is
//
//	func TestStore(t *testing.T) {
//		storetest.Test(t, func(t *testing.T) oras.Store { return memory.New() })
//	}
//
// and covers all that is written in the comments of package oras. It asserts
// nothing that is not written there.
package storetest

import (
	"testing"

	"github.com/c73062ad/oras"
)

// Test checks that the stores which open returns keep the contract of
// [oras.Store], one sub-test for each part of it. Each sub-test opens an empty
// store, or several, and open registers with its t what must be done to close
// it. Uploads and [oras.TagIf] are tested if the store has them.
//
// The sub-test Model compares random operations with a model of a store, and
// says on failure how to repeat them. It makes a tenth of as many checks as the
// flag -rapid.checks says, and fewer with -short.
func Test(t *testing.T, open func(t *testing.T) oras.Store) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"Blob", testBlob},
		{"BlobMismatch", testBlobMismatch},
		{"BlobSeek", testBlobSeek},
		{"Digest", testDigest},
		{"Manifest", testManifest},
		{"ManifestPush", testManifestPush},
		{"ManifestSize", testManifestSize},
		{"Tag", testTag},
		{"TagGrammar", testTagGrammar},
		{"Tags", testTags},
		{"TagsMany", testTagsMany},
		{"Tagged", testTagged},
		{"TagIf", testTagIf},
		{"Predecessors", testPredecessors},
		{"Referrers", testReferrers},
		{"Delete", testDelete},
		{"Upload", testUpload},
		{"UploadEnd", testUploadEnd},
		{"UploadBroken", testUploadBroken},
		{"UploadShared", testUploadShared},
		{"ConcurrentPush", testConcurrentPush},
		{"ConcurrentTag", testConcurrentTag},
		{"ConcurrentTagIf", testConcurrentTagIf},
		{"ConcurrentDelete", testConcurrentDelete},
		{"ConcurrentPushDelete", testConcurrentPushDelete},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(&suite{t, open(t)}) })
	}
	t.Run("Model", func(t *testing.T) { testModel(t, open) })
}
