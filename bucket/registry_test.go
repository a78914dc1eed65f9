package bucket_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// The order of names is that of their bytes, whatever is between their parts.
var names = []string{
	"a", "a-b", "a-b/c", "a.b", "a.b/c", "a.z", "a/b", "a/b-c", "a/b.c", "a/b/c", "a/z", "a0", "a0/b", "a_b", "a_b/c", "a__b", "aa",
	"library/hello-world", strings.Repeat("n", 255), strings.Repeat("o", 253) + "/o", "p" + strings.Repeat("/p", 20),
}

func TestRepositories(t *testing.T) {
	slices.Sort(names)
	for _, b := range []bucket.Bucket{openDir(t), &plain{}} {
		r := bucket.New(b)
		listed := func(last string) []string {
			var all []string
			err := r.Repositories(t.Context(), last, func(names []string) error {
				all = append(all, names...)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		if got := listed(""); len(got) > 0 {
			t.Errorf("Repositories of an empty registry: %q", got)
		}
		for i := range names {
			name := names[(i*8)%len(names)] // in no order
			s := repository(t, r, name)
			want(t, oras.ErrNotFound, s.Tags(t.Context(), "", func([]string) error { return nil }))
			desc, err := oras.PushBytes(t.Context(), s, oras.MediaTypeBlob, []byte(name))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Tags(t.Context(), "", func([]string) error { return nil }); err != nil {
				t.Error(err)
			}
			if data, err := oras.FetchAll(t.Context(), s, desc); err != nil || string(data) != name {
				t.Errorf("%s holds %q, %v", name, data, err)
			}
		}
		for _, r = range []*bucket.Registry{r, bucket.New(b)} {
			for i, name := range names {
				if got := listed(name); !slices.Equal(got, names[i+1:]) {
					t.Errorf("Repositories after %q: %q", name, got)
				}
			}
			for _, last := range []string{"", "0", "a,", "a/", "a//", "a.", "a.~", "a.~/b", "b", "A", "zz", "\xff", "a/../b"} {
				want := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name <= last })
				if got := listed(last); !slices.Equal(got, want) {
					t.Errorf("Repositories after %q: %q; it must be %q", last, got, want)
				}
			}
		}
	}
}

func TestRepositoryName(t *testing.T) {
	r := bucket.New(&plain{})
	for _, name := range []string{"", "A", "a/", "/a", "a//b", "../a", "_a", "a/_tags", "a\x00", strings.Repeat("n", 256)} {
		_, err := r.Repository(t.Context(), name)
		want(t, oras.ErrReference, err)
	}
}
