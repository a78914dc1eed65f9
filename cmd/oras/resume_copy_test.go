package main

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
)

// A resumedCopy is a command that copies an artifact with one large file, the bytes of
// which pass the proxy once.
type resumedCopy struct {
	name string
	args string // PROXY is the proxy, REG the registry, NEW a repository, MADE a backup
	out  string // what to pull from when it is done
}

var resumedCopies = []resumedCopy{
	{"from a registry", "cp PROXY/from:v1 REG/NEW:v1 --connections=1", "REG/NEW:v1"},
	{"to a registry", "cp REG/from:v1 PROXY/NEW:v1", "REG/NEW:v1"},
	{"to a layout", "cp PROXY/from:v1 --to-oci-layout layout:v1 --connections=1", "--oci-layout layout:v1"},
	{"from a layout", "cp --from-oci-layout MADE:v1 PROXY/NEW:v1", "REG/NEW:v1"},
	{"backup", "backup PROXY/from:v1 -o saved --connections=1", "--oci-layout saved:v1"},
	{"backup to an archive", "backup PROXY/from:v1 -o saved.tar --connections=1", "--oci-layout saved.tar:v1"},
	{"restore", "restore --input MADE PROXY/NEW:v1", "REG/NEW:v1"},
	{"restore from an archive", "restore --input MADE.tar PROXY/NEW:v1", "REG/NEW:v1"},
}

// pushLarge pushes a large file as from:v1, and returns who did, and what is in it.
func pushLarge(t *testing.T, reg string) (*runner, []byte) {
	t.Helper()
	r, data := newRunner(t), make([]byte, resumedSize)
	rand.Read(data)
	mustWrite(t, filepath.Join(r.dir, "large"), data)
	r.run("push", reg+"/from:v1", "large")
	return r, data
}

// TestResumeCopy is TestResume of copies: broken off at 90 % and run again, they move
// what was missing and less than 11 % of all bytes, and what comes out is right.
func TestResumeCopy(t *testing.T) {
	registry := startRegistry(t, t.TempDir())
	reg := localhost(registry.host)
	made, data := pushLarge(t, reg)
	made.run("backup", reg+"/from:v1", "-o", "made")
	made.run("backup", reg+"/from:v1", "-o", "made.tar")
	for _, test := range resumedCopies {
		for _, signal := range []os.Signal{os.Kill, os.Interrupt} {
			t.Run(test.name+" "+signal.String(), func(t *testing.T) {
				p := newMeterProxy(t, registry.host)
				p.rate = 3 * resumedSize // or else much is in buffers of the system
				r := newRunner(t)
				place := strings.NewReplacer("PROXY", p.host, "REG", reg, "MADE", filepath.Join(made.dir, "made"),
					"NEW", strings.ToLower(strings.NewReplacer(" ", "-", "/", "-").Replace(t.Name())))
				args := strings.Fields(place.Replace(test.args))
				errs := r.breakOff(p, resumedSize*9/10, signal, args...)
				if want := ": interrupt signal received\n" + resumesInContent + "\n"; signal == os.Interrupt && !strings.HasSuffix(errs, want) {
					t.Errorf("it says %q", errs)
				}
				p.reset(1 << 62)
				end := checkLines(t, readLines(t, r.run(append(args, "--format=ndjson")...)))
				again := p.count() - resumedSize/10
				t.Logf("%.1f %% of the bytes moved again", float64(again)*100/resumedSize)
				if again > resumedSize*11/100 {
					t.Errorf("%d bytes moved again", again)
				}
				// What came in vain, as the connection was there before it was known
				// where to go on, is no progress.
				if told := end.Totals.Bytes; told > p.count() || told < p.count()-resumedSize/100 || end.Totals.There < resumedSize*85/100 {
					t.Errorf("%d bytes passed, and it tells of %+v", p.count(), *end.Totals)
				}
				r.run(append([]string{"pull", "-o", "out"}, strings.Fields(place.Replace(test.out))...)...)
				if got, err := os.ReadFile(filepath.Join(r.dir, "out", "large")); err != nil || !bytes.Equal(got, data) {
					t.Errorf("what was copied is another file: %v", err)
				}
				// Nothing is left but what was asked for.
				for name := range readTree(t, r.dir) {
					base := filepath.Base(name)
					if strings.HasPrefix(base, ".oras-") || strings.HasSuffix(base, ".upload") || strings.Contains(name, "ingest") || strings.Contains(name, ".oras-backup-") {
						t.Errorf("%s is left", name)
					}
				}
			})
		}
	}
}

// TestResumeBlob is TestResume of commands that move one blob, and of what goes through
// the cache.
func TestResumeBlob(t *testing.T) {
	registry := startRegistry(t, t.TempDir())
	reg := localhost(registry.host)
	made, data := pushLarge(t, reg)
	blob := "/from@" + oras.SHA256.Digest(data).String()
	for _, test := range []struct {
		name        string
		args, again string   // again is args if it is empty
		left        []string // in the folder
	}{
		{name: "push", args: "blob push PROXY/NEW FROM/large"},
		{name: "fetch", args: "blob fetch PROXYBLOB -o out --connections=1", left: []string{"out"}},
		{name: "fetch, cached", args: "blob fetch PROXYBLOB -o out --connections=1", left: []string{"out"}},
		{name: "fetch to standard output, cached", args: "blob fetch PROXYBLOB -o - --connections=1"},
		{name: "pull elsewhere, cached", args: "pull PROXY/from:v1 -o first --connections=1", again: "pull PROXY/from:v1 -o out --connections=1", left: []string{"out/large"}},
	} {
		for _, signal := range []os.Signal{os.Kill, os.Interrupt} {
			t.Run(test.name+" "+signal.String(), func(t *testing.T) {
				p := newMeterProxy(t, registry.host)
				p.rate = 3 * resumedSize
				r := newRunner(t)
				place := strings.NewReplacer("PROXYBLOB", p.host+blob, "PROXY", p.host, "FROM", made.dir,
					"NEW", strings.ToLower(strings.NewReplacer(" ", "-", "/", "-").Replace(t.Name())))
				if strings.HasSuffix(test.name, "cached") {
					r.env = append(r.env, "ORAS_CACHE="+filepath.Join(r.dir, "cache"))
				}
				errs := r.breakOff(p, resumedSize*9/10, signal, strings.Fields(place.Replace(test.args))...)
				if want := ": interrupt signal received\n" + resumesInContent + "\n"; signal == os.Interrupt && !strings.HasSuffix(errs, want) {
					t.Errorf("it says %q", errs)
				}
				p.reset(1 << 62)
				out := r.run(strings.Fields(place.Replace(cmp.Or(test.again, test.args)))...)
				again := p.count() - resumedSize/10
				t.Logf("%.1f %% of the bytes moved again", float64(again)*100/resumedSize)
				if again > resumedSize*11/100 {
					t.Errorf("%d bytes moved again", again)
				}
				var left []string
				for name, content := range readTree(t, r.dir) {
					if strings.HasPrefix(name, "cache/.oras-sha") || !strings.HasPrefix(name, "cache/") && !strings.HasPrefix(name, "first/") {
						left = append(left, name)
					}
					if strings.HasPrefix(name, "out") {
						out = content
					}
				}
				if test.name == "push" {
					out = r.run("blob", "fetch", place.Replace(reg+"/NEW@")+oras.SHA256.Digest(data).String(), "-o", "-")
				}
				if out != string(data) {
					t.Error("what was moved is something else")
				}
				if content := readTree(t, r.dir)["cache/blobs/sha256/"+oras.SHA256.Digest(data).Hex()]; strings.HasSuffix(test.name, "cached") && content != string(data) {
					t.Error("it is not in the cache")
				}
				if !slices.Equal(left, test.left) {
					t.Errorf("left is %q", left)
				}
			})
		}
	}
}

// TestBackupTogether backs up the same into one archive several times at once, one of
// which finds what was broken off before; each comes to its end.
func TestBackupTogether(t *testing.T) {
	registry := startRegistry(t, t.TempDir())
	p := newMeterProxy(t, registry.host)
	r := newRunner(t)
	r.random("large", 1<<20)
	reference := p.host + "/a:v1"
	r.run("push", reference, "large")
	args := []string{"backup", reference, "-o", "saved.tar"}
	r.breakOff(p, 1<<19, os.Kill, args...)
	if left, err := filepath.Glob(filepath.Join(r.dir, workPrefix+"*")); err != nil || len(left) != 1 {
		t.Fatalf("left is %q, %v", left, err)
	}
	p.reset(1 << 62)
	done := make(chan error)
	for range 4 {
		cmd := r.command(args...)
		go func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			done <- err
		}()
	}
	for range 4 {
		<-done
	}
	if left, err := filepath.Glob(filepath.Join(r.dir, workPrefix+"*")); err != nil || len(left) != 0 {
		t.Errorf("left is %q, %v", left, err)
	}
	r.run("pull", "--oci-layout", "saved.tar:v1", "-o", "out")
	want, err := os.ReadFile(filepath.Join(r.dir, "large"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(r.dir, "out", "large")); err != nil || oras.SHA256.Digest(got) != oras.SHA256.Digest(want) {
		t.Errorf("what was backed up is another file: %v", err)
	}
}
