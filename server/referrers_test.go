package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// TestReferrersPages: in whatever order and pages a store lists referrers, each is
// on one page, and no page is too large.
func TestReferrersPages(t *testing.T) {
	if testing.Short() {
		t.Skip("much to encode")
	}
	var all []oras.Descriptor
	for i := range 120 {
		d := oras.DescriptorOf(oras.MediaTypeImageManifest, fmt.Append(nil, i))
		d.Annotations = map[string]string{"x": strings.Repeat("x", i*1000)}
		all = append(all, d)
	}
	all[7].Annotations["x"] = strings.Repeat("x", wire.MaxListPage) // more than a page can hold
	t.Run("by digest", func(t *testing.T) { testReferrersPages(t, all, byDigest, false) })
	for i := range all {
		if i%3 > 0 {
			all[i].Annotations[annotationsCreated[i%2]] = fmt.Sprintf("20%02d-01-02T03:04:05.%dZ", i%7, i%3)
		}
	}
	t.Run("by age", func(t *testing.T) { testReferrersPages(t, all, byAge, true) })
}

func testReferrersPages(t *testing.T, all []oras.Descriptor, key func(oras.Descriptor) string, aged bool) {
	slices.SortFunc(all, func(a, b oras.Descriptor) int { return strings.Compare(key(a), key(b)) })
	for _, shuffle := range []bool{false, true} {
		for _, n := range []int{7, 119, 120, 1000} {
			stored := slices.Clone(all)
			if shuffle {
				rand.Shuffle(len(stored), func(i, j int) { stored[i], stored[j] = stored[j], stored[i] })
			}
			var got []string
			last, pages := "", 0
			for ; pages <= len(all); pages++ {
				p := referrers{key: key, shuffled: aged, n: n, size: wire.MaxListPage - 1<<10, last: last}
				var err error
				for part := range slices.Chunk(stored, 11) {
					if err = p.add(part); err != nil {
						break
					}
				}
				if err != nil && !errors.Is(err, errStop) {
					t.Fatal(err)
				}
				data, err := json.Marshal(p.entries)
				if err != nil || len(data) > wire.MaxListPage-1<<10 || len(p.entries) > n {
					t.Fatalf("a page of %d bytes with %d entries: %v", len(data), len(p.entries), err)
				}
				got = append(got, p.keys...)
				if !p.more {
					break
				}
				last = got[len(got)-1]
			}
			if len(got) != len(all) {
				t.Fatalf("shuffled %v, pages of %d: %d referrers", shuffle, n, len(got))
			}
			for i := range all {
				if got[i] != key(all[i]) {
					t.Fatalf("shuffled %v, pages of %d: referrer %d is %s", shuffle, n, i, got[i])
				}
			}
		}
	}
}

// TestReferrersStop: of a list in order no more is read than the page needs.
func TestReferrersStop(t *testing.T) {
	p := referrers{key: byDigest, n: 2, size: wire.MaxListPage}
	for i, digest := range []digest.Digest{"sha256:a", "sha256:b", "sha256:c", "sha256:d"} {
		if err := p.add([]oras.Descriptor{{Digest: digest}}); errors.Is(err, errStop) != (i >= 2) {
			t.Errorf("after referrer %d: %v", i, err)
		}
	}
	if !p.more || !slices.Equal(p.keys, []string{"sha256:a", "sha256:b"}) {
		t.Errorf("page %q, more %v", p.keys, p.more)
	}
}

// TestByAge: the youngest comes first, and what has no age last.
func TestByAge(t *testing.T) {
	keys := make([]string, 0, 10)
	for _, created := range []string{
		"9999-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "2023-08-12T10:00:00.000000002Z", "2023-08-12T10:00:00.000000001Z", "2023-08-12T12:00:00+02:00",
		"2023-08-12T09:59:59Z", "1970-01-01T00:00:01Z", "1969-01-01T00:00:00Z", "yesterday",
	} {
		keys = append(keys, byAge(oras.Descriptor{Digest: "sha256:x", Annotations: map[string]string{"org.opencontainers.image.created": created}}))
	}
	if keys = append(keys, byAge(oras.Descriptor{Digest: "sha256:y"})); !slices.IsSorted(keys) {
		t.Errorf("keys of the youngest to the oldest: %q", keys)
	}
	both := map[string]string{"org.opencontainers.image.created": "2020-01-01T00:00:00Z", "io.cncf.oras.artifact.created": "2021-01-01T00:00:00Z"}
	one := map[string]string{"io.cncf.oras.artifact.created": "2021-01-01T00:00:00Z"}
	if byAge(oras.Descriptor{Annotations: both}) != byAge(oras.Descriptor{Annotations: one}) {
		t.Error("the annotation of ORAS does not count before that of OCI")
	}
}
