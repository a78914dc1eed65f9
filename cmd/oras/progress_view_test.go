package main

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"pgregory.net/rapid"

	"github.com/c73062ad/oras"
)

// layerOf returns the descriptor of a layer called name.
func layerOf(name string, size int64) oras.Descriptor {
	desc := oras.DescriptorOf(oras.MediaTypeLayer, []byte(name))
	desc.Size = size
	desc.Annotations = map[string]string{ocispec.AnnotationTitle: name}
	return desc
}

// A scene is a view of a pull and the time that it is in.
type scene struct {
	view
	now time.Time
}

func newScene() *scene {
	return &scene{view: view{width: len("Downloading")}, now: time.Unix(1e9, 0)}
}

// happens gives the view events.
func (s *scene) happens(kind oras.EventKind, bytes int64, descs ...oras.Descriptor) {
	for _, desc := range descs {
		s.event(oras.Event{Kind: kind, Descriptor: desc, Bytes: bytes}, pullVerbs[kind])
	}
}

// after returns the frame, some time later.
func (s *scene) after(d time.Duration, width, height int) []string {
	s.now = s.now.Add(d)
	return s.frame(s.now, width, height)
}

// check checks the frame of a terminal of that size.
func (s *scene) check(t *testing.T, width, height int, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.after(0, width, height)); diff != "" {
		t.Errorf("%dx%d, -want +got:\n%s", width, height, diff)
	}
}

const mib = 1 << 20

var (
	small    = layerOf("small.txt", 12)
	middle   = layerOf("middle.bin", 40*mib)
	large    = layerOf("a/folder/with/a/long/name/large.bin", 3<<30)
	manifest = oras.Descriptor{MediaType: oras.MediaTypeImageManifest, Digest: oras.Empty().Digest, Size: 700}
)

// TestView shows one pull from its beginning to its end, at several sizes.
func TestView(t *testing.T) {
	s := newScene()
	s.check(t, 80, 24)
	s.happens(oras.Reading, 0, manifest)
	s.check(t, 80, 24,
		" Downloading application/vnd…anifest.v1+json        0/700 B")
	s.happens(oras.Read, 0, manifest)
	s.happens(oras.Found, 0, small, middle, large)
	s.check(t, 80, 24,
		" 0 of 4 done, 0/3.04 GiB")

	s.happens(oras.Copying, 0, middle, large)
	s.after(0, 80, 24)
	s.happens(oras.Progress, 10*mib, middle)
	s.happens(oras.Progress, 256*mib, large)
	s.after(2*time.Second, 80, 24)
	s.check(t, 200, 24,
		" Downloading middle.bin                                10.0/40.0 MiB  5.00 MiB/s      6s",
		" Downloading a/folder/with/a/long/name/large.bin       0.25/3.00 GiB   128 MiB/s     22s",
		" 0 of 4 done, 0.26/3.04 GiB, 133 MiB/s, 22s left")
	s.check(t, 80, 24,
		" Downloading middle.bin                       10.0/40.0 MiB  5.00 MiB/s      6s",
		" Downloading a/folder/with/a…/name/large.bin  0.25/3.00 GiB   128 MiB/s     22s",
		" 0 of 4 done, 0.26/3.04 GiB, 133 MiB/s, 22s left")
	s.check(t, 60, 24,
		" Downloading middle.bin               10.0/40.0 MiB      6s",
		" Downloading a/folder/wi…e/large.bin  0.25/3.00 GiB     22s",
		" 0 of 4 done, 0.26/3.04 GiB, 133 MiB/s, 22s left")
	s.check(t, 40, 24,
		" Downloading middle.bin             25%",
		" Downloading a/folder/w…large.bin    8%",
		" 0 of 4 done, 0.26/3.04 GiB, 22s left")
	s.check(t, 20, 24,
		" middle.bin     25%",
		" a/fold…e.bin    8%",
		" 0/4, 8%, 22s left")
	s.check(t, 10, 4,
		" m…   25%",
		" 0/4, 8%")
	s.check(t, 20, 2, " 0/4, 8%, 22s left")
	s.check(t, 1, 1, "")

	// The large one is begun again, small.txt was there.
	s.happens(oras.Progress, 0, large)
	s.happens(oras.Exists, 0, small)
	s.check(t, 20, 24,
		" middle.bin     25%",
		" a/fold…e.bin    0%",
		" 1/4, 0%, 24s left")
	s.happens(oras.Copied, 0, middle, large)
	s.happens(oras.Progress, 1, large) // somebody did not hear yet
	s.check(t, 20, 24, " 3/4, 99%, 1s left")
	s.happens(oras.Copying, 0, manifest)
	s.check(t, 80, 3, " 3 of 4 done, 1 more under way, 3.04/3.04 GiB, 133 MiB/s, 1s left")
	s.happens(oras.Progress, 700, manifest)
	s.happens(oras.Copied, 0, manifest)
	s.check(t, 80, 24)
}

// TestViewPrepares: files are named while they are read, before a push.
func TestViewPrepares(t *testing.T) {
	s := newScene()
	s.preparing = "a\x1b[2Jb"
	s.check(t, 80, 24, ` Preparing a\x1b[2Jb`)
	s.check(t, 10, 24, ` Preparin`)
	s.happens(oras.Exists, 0, small)
	s.check(t, 80, 24)
}

// TestViewMany: of hundreds of layers those longest under way are shown, in no more
// lines than half the terminal has.
func TestViewMany(t *testing.T) {
	s := newScene()
	s.happens(oras.Read, 0, manifest)
	for i := range 400 {
		desc := layerOf(fmt.Sprintf("layer-%03d", i), mib)
		s.happens(oras.Found, 0, desc)
		if i < 120 {
			s.happens(oras.Copying, 0, desc)
		}
		if i < 100 && i != 1 {
			s.happens(oras.Copied, 0, desc)
		}
	}
	s.check(t, 80, 9,
		" Downloading layer-001            0/1.00 MiB",
		" Downloading layer-100            0/1.00 MiB",
		" Downloading layer-101            0/1.00 MiB",
		" 99 of 401 done, 18 more under way, 99.0/400 MiB")
	for _, height := range []int{1, 2, 3, 10, 24, 1000} {
		if n := len(s.after(0, 80, height)); n > max(height/2, 1) || n > maxRows {
			t.Errorf("%d lines of %d", n, height)
		}
	}
}

// TestViewResumes: bytes that were there before count, but not for the rate.
func TestViewResumes(t *testing.T) {
	s := newScene()
	s.happens(oras.Copying, 0, middle)
	s.after(0, 80, 24)
	s.event(oras.Event{Kind: oras.Progress, Descriptor: middle, Bytes: 5 * mib, There: 30 * mib}, "")
	s.after(time.Second, 80, 24)
	s.check(t, 80, 24, " Downloading middle.bin        35.0/40.0 MiB  5.00 MiB/s      1s")
}

var colourCodes = regexp.MustCompile("\x1b\\[[0-9]*m")

// TestViewFits: whatever happens, whatever names and sizes a registry makes up, the
// lines of a frame are narrower than the terminal, fewer than its lines, and hold
// nothing that moves the cursor.
func TestViewFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newScene()
		coloured := newScene()
		coloured.coloured = true
		var descs []oras.Descriptor
		for range rapid.IntRange(1, 6).Draw(t, "descriptors") {
			descs = append(descs, layerOf(rapid.String().Draw(t, "name"), rapid.SampledFrom([]int64{-1, 0, 1, 1023, 1 << 40, math.MaxInt64, math.MinInt64}).Draw(t, "size")))
		}
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			e := oras.Event{
				Kind:       oras.EventKind(rapid.IntRange(int(oras.Found), int(oras.Restored)).Draw(t, "kind")),
				Descriptor: rapid.SampledFrom(descs).Draw(t, "descriptor"),
				Bytes:      rapid.Int64Min(0).Draw(t, "bytes"),
				There:      rapid.Int64Min(0).Draw(t, "there"),
			}
			s.event(e, pullVerbs[e.Kind])
			coloured.event(e, pullVerbs[e.Kind])
			width, height := rapid.IntRange(1, 100).Draw(t, "width"), rapid.IntRange(1, 30).Draw(t, "height")
			passed := time.Duration(rapid.IntRange(0, 1e9).Draw(t, "passed"))
			lines := s.after(passed, width, height)
			if len(lines) > 1 && len(lines) >= height {
				t.Fatalf("%d lines at a height of %d", len(lines), height)
			}
			for _, line := range lines {
				if columns(line) >= width || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Fatalf("%q at a width of %d", line, width)
				}
			}
			bare := coloured.after(passed, width, height)
			for i, line := range bare {
				bare[i] = colourCodes.ReplaceAllString(line, "")
			}
			if !slices.Equal(bare, lines) {
				t.Fatalf("without colours %q, without them taken away %q", lines, bare)
			}
		}
	})
}

func TestAmounts(t *testing.T) {
	for _, test := range []struct {
		bytes, size int64
		want        string
	}{
		{0, 0, "0/0 B"},
		{0, 1, "0/1 B"},
		{999, 1023, "999/1023 B"},
		{1, 1024, "0.00/1.00 KiB"},
		{10 << 10, 1<<20 - 1, "0.01/1.00 MiB"},
		{10 << 10, 1023 << 10, "10.0/1023 KiB"},
		{99 << 10, 100 << 10, "99.0/100 KiB"},
		{math.MaxInt64, math.MaxInt64, "8.00/8.00 EiB"},
	} {
		if got := amount(test.bytes, test.size); got != test.want || len(got) > amountWidth {
			t.Errorf("%d of %d: %q, want %q", test.bytes, test.size, got, test.want)
		}
	}
	for i := range 63 {
		for _, size := range []int64{1<<i - 1, 1 << i, 1<<i + 1<<i>>1, 1<<i + 1} {
			if got := amount(size, size); len(got) > amountWidth {
				t.Errorf("%d: %q", size, got)
			}
			if got := rate(meter{bytes: float64(size), seconds: 1}); len(got) > rateWidth {
				t.Errorf("%d: %q", size, got)
			}
		}
	}
}

func TestTimeLeft(t *testing.T) {
	second := meter{bytes: 1, seconds: 1}
	for _, test := range []struct {
		rate  meter
		bytes int64
		want  string
	}{
		{second, 0, ""},
		{second, 1, "1s"},
		{second, 59, "59s"},
		{second, 60, "1m00s"},
		{second, 3599, "59m59s"},
		{second, 3600, "1h00m"},
		{second, 24*3600 - 1, "23h59m"},
		{second, 24 * 3600, "1d00h"},
		{second, 100*24*3600 - 1, "99d23h"},
		{second, 100 * 24 * 3600, ""},
		{second, math.MaxInt64, ""},
		{meter{}, 1, ""},
		{meter{bytes: 0, seconds: 1}, 1, ""},
		{meter{bytes: 1e12, seconds: 1}, 1, "1s"},
	} {
		if got := timeLeft(test.rate, test.bytes); got != test.want || len(got) > leftWidth {
			t.Errorf("%d bytes: %q, want %q", test.bytes, got, test.want)
		}
	}
}

// TestMeter: the rate follows a change within seconds, and an interruption, whose
// bytes come again, is not negative.
func TestMeter(t *testing.T) {
	var m meter
	now, bytes := time.Unix(0, 0), int64(0)
	if _, ok := m.perSecond(); ok {
		t.Error("a rate of nothing")
	}
	during := func(seconds int, perSecond int64) float64 {
		for range seconds * 10 {
			m.tick(now, bytes)
			now, bytes = now.Add(time.Second/10), bytes+perSecond/10
		}
		r, _ := m.perSecond()
		return r
	}
	near := func(got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 0.05*want+1 {
			t.Errorf("%f, want about %f", got, want)
		}
	}
	near(during(1, 1000), 1000)
	near(during(10, 1000), 1000)
	near(during(12, 5000), 5000)
	near(during(30, 0), 0)
	bytes = 0
	near(during(1, 0), 0)
}

// TestViewGrowing: of content whose size is not known yet the bytes that moved are
// shown, and it becomes what it is known to be.
func TestViewGrowing(t *testing.T) {
	now := time.Unix(0, 0)
	v := &view{width: len("Uploading")}
	unknown := oras.Descriptor{Annotations: map[string]string{ocispec.AnnotationTitle: "tree"}}
	v.event(oras.Event{Kind: oras.Copying, Descriptor: unknown}, "Uploading")
	v.event(oras.Event{Kind: oras.Progress, Descriptor: unknown, Bytes: 3 << 20}, "")
	v.frame(now, 80, 24)
	frame := v.frame(now.Add(time.Second), 80, 24)
	if len(frame) != 1 || strings.Join(strings.Fields(frame[0]), " ") != "Uploading tree 3.00 MiB 0 B/s" {
		t.Errorf("the frame is %q", frame)
	}
	known := layerOf("tree", 4<<20)
	v.event(oras.Event{Kind: oras.Copying, Descriptor: known}, "Uploading")
	if frame := v.frame(now.Add(2*time.Second), 80, 24); len(frame) != 1 || !strings.Contains(frame[0], "3.00/4.00 MiB") {
		t.Errorf("the frame is %q", frame)
	}
	v.event(oras.Event{Kind: oras.Copied, Descriptor: known}, "Uploaded")
	if frame := v.frame(now.Add(3*time.Second), 80, 24); frame != nil || v.moved != 4<<20 || v.expected != 4<<20 || len(v.transfers) != 1 {
		t.Errorf("the frame is %q of %+v", frame, v)
	}
}
