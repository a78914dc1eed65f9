package bucket

import (
	"context"
	"errors"
	"fmt"

	"github.com/c73062ad/oras"
)

const (
	schemaKey     = "_schema"
	schemaVersion = 1 // of the keys that the package comment draws
)

// A schema says which keys a bucket has, and what they mean.
type schema struct {
	Version int `json:"version"`
}

// checkSchema makes sure that b has the keys that this version of the package
// knows, and says so in one that has none yet. A bucket that says nothing is of
// version 1, which did not say it at first.
func checkSchema(ctx context.Context, b Bucket) error {
	var s schema
	_, err := readFact(ctx, b, schemaKey, &s)
	switch {
	case errors.Is(err, oras.ErrNotFound):
		return beginSchema(ctx, b)
	case err != nil:
		return err
	case s.Version < 1:
		return fmt.Errorf("%s says that its version is %d, which there never was", schemaKey, s.Version)
	case s.Version > schemaVersion:
		return fmt.Errorf("it was written by a later version of this program: its schema is version %d, and this program knows %d; use the later one, or another folder",
			s.Version, schemaVersion)
	}
	return nil
}

// beginSchema writes the schema unless there is a repository.
func beginSchema(ctx context.Context, b Bucket) error {
	there := errors.New("there is a repository")
	err := b.List(ctx, repositories, "", func([]string) error { return there })
	if err == there {
		return nil
	}
	if err != nil {
		return err
	}
	return writeFact(ctx, b, schemaKey, schema{schemaVersion})
}
