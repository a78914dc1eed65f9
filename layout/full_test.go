//go:build unix

package layout_test

import (
	"bytes"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/c73062ad/oras"
)

// What does not fit on the disk is an error, and all is as it was: a limit to the
// size of files fails writes in the middle, as a full disk does.
func TestFull(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	desc := pushImage(t, s, "one", "v1")
	before, index := files(t, dir), read(t, dir, "index.json")

	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var was syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was))
	limit := was
	limit.Cur = 8 << 10
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	defer syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was)

	large := bytes.Repeat([]byte("x"), 10<<10)
	_, err := oras.PushBytes(t.Context(), s, "a/b", large)
	fails(t, err, syscall.EFBIG)
	fails(t, s.Tag(t.Context(), desc, strings.Repeat("x", 10<<10)), syscall.EFBIG)
	if after := files(t, dir); !slices.Equal(before, after) {
		t.Errorf("writes that failed left %q", after)
	}
	if got := read(t, dir, "index.json"); got != index {
		t.Errorf("index.json is now %s", got)
	}
	must(t, s.Tag(t.Context(), desc, "v2"))

	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was))
	push(t, s, "a/b", large)
	must(t, s.Tag(t.Context(), desc, strings.Repeat("x", 10<<10)))
}
