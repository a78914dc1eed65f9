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
	var all []oras.Descriptor
	for i := range 120 {
		d := oras.DescriptorOf(oras.MediaTypeImageManifest, fmt.Append(nil, i))
		d.Annotations = map[string]string{"x": strings.Repeat("x", i*1000)}
		all = append(all, d)
	}
	all[7].Annotations["x"] = strings.Repeat("x", wire.MaxListPage) // more than a page can hold
	slices.SortFunc(all, func(a, b oras.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	for _, shuffle := range []bool{false, true} {
		for _, n := range []int{7, 119, 120, 1000} {
			stored := slices.Clone(all)
			if shuffle {
				rand.Shuffle(len(stored), func(i, j int) { stored[i], stored[j] = stored[j], stored[i] })
			}
			var got []string
			last, pages := "", 0
			for ; pages <= len(all); pages++ {
				p := referrers{n: n, size: wire.MaxListPage - 1<<10, last: last}
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
				got = append(got, p.digests...)
				if !p.more {
					break
				}
				last = got[len(got)-1]
			}
			if len(got) != len(all) {
				t.Fatalf("shuffled %v, pages of %d: %d referrers", shuffle, n, len(got))
			}
			for i := range all {
				if got[i] != all[i].Digest.String() {
					t.Fatalf("shuffled %v, pages of %d: referrer %d is %s", shuffle, n, i, got[i])
				}
			}
		}
	}
}

// TestReferrersStop: of a list in order no more is read than the page needs.
func TestReferrersStop(t *testing.T) {
	p := referrers{n: 2, size: wire.MaxListPage}
	for i, digest := range []digest.Digest{"sha256:a", "sha256:b", "sha256:c", "sha256:d"} {
		if err := p.add([]oras.Descriptor{{Digest: digest}}); errors.Is(err, errStop) != (i >= 2) {
			t.Errorf("after referrer %d: %v", i, err)
		}
	}
	if !p.more || !slices.Equal(p.digests, []string{"sha256:a", "sha256:b"}) {
		t.Errorf("page %q, more %v", p.digests, p.more)
	}
}
