package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/c73062ad/oras"
)

// A tool is a command line that moves artifacts. What it cannot is nil.
type tool struct {
	name string
	path func(b *testing.B) string
	push func(ref string, files []string) []string // arguments; files are below the working directory
	pull func(ref string) []string                 // to there
	copy func(from, to string) []string
}

var (
	ours = tool{
		"ours", func(*testing.B) string { return program },
		func(ref string, files []string) []string { return append([]string{"push", ref}, files...) },
		func(ref string) []string { return []string{"pull", ref} },
		func(from, to string) []string { return []string{"cp", from, to} },
	}
	orasGo = tool{
		"oras-go", func(b *testing.B) string { return buildProgram(b, ".", "./cmd/orasgo") },
		ours.push, ours.pull, ours.copy,
	}
	crane = tool{
		name: "crane", path: func(b *testing.B) string {
			return buildProgram(b, ".", "github.com/google/go-containerregistry/cmd/crane")
		},
		pull: func(ref string) []string { return []string{"pull", "--format", "oci", ref, "layout"} },
		copy: func(from, to string) []string { return []string{"copy", from, to} },
	}
	regctl = tool{
		"regctl", func(b *testing.B) string { return buildProgram(b, ".", "github.com/regclient/regclient/cmd/regctl") },
		func(ref string, files []string) []string {
			args := append(plainHTTP(ref), "artifact", "put", "--artifact-type", "application/vnd.unknown.artifact.v1", "--file-title")
			for _, f := range files {
				args = append(args, "--file", f, "--file-media-type", oras.MediaTypeLayer)
			}
			return append(args, ref)
		},
		func(ref string) []string { return append(plainHTTP(ref), "artifact", "get", "--output", ".", ref) },
		func(from, to string) []string { return append(plainHTTP(from, to), "image", "copy", from, to) },
	}
)

// plainHTTP are the arguments that let regctl speak HTTP to the registries of refs.
func plainHTTP(refs ...string) []string {
	var args []string
	for _, ref := range refs {
		host, _, _ := strings.Cut(ref, "/")
		args = append(args, "--host", "reg="+host+",tls=disabled")
	}
	return args
}

// command returns the command in dir, with a home of its own.
func (t tool) command(b *testing.B, home, dir string, args []string) *exec.Cmd {
	cmd := exec.Command(t.path(b), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, ".cache"), "ORAS_CACHE=")
	return cmd
}

// A run is what one run of a tool took.
type run struct{ seconds, rss float64 }

// run runs the tool once everything that was written before is on disk, so that it
// does not wait for what others wrote.
func (t tool) run(b *testing.B, home, dir string, args []string) run {
	b.Helper()
	cmd := t.command(b, home, dir, args)
	if !testing.Short() {
		syscall.Sync()
	}
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(begin).Seconds()
	if err != nil {
		b.Fatalf("%s %.200q: %v\n%.2000s", t.name, args, err, out)
	}
	return run{took, maxRSS(cmd)}
}

// compareTools lets tools do the same, in turn, a few rounds each, and reports for each
// the median of its seconds, the most memory it took, and for all but the first how
// many times the first's seconds its are.
func compareTools(b *testing.B, rounds int, tools []tool, do func(tool) run) {
	seconds, rss := map[string][]float64{}, map[string]float64{}
	for range rounds {
		for _, t := range tools {
			r := do(t)
			seconds[t.name] = append(seconds[t.name], r.seconds)
			rss[t.name] = max(rss[t.name], r.rss)
		}
	}
	for _, t := range tools {
		b.ReportMetric(median(seconds[t.name]), t.name+"-s")
		b.ReportMetric(rss[t.name], t.name+"-MiB")
		if t.name != tools[0].name {
			b.ReportMetric(median(seconds[t.name])/median(seconds[tools[0].name]), t.name+"/"+tools[0].name)
		}
	}
	b.ReportMetric(0, "ns/op") // means nothing here
}
