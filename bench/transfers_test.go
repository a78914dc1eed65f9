package bench

import (
	"errors"
	"fmt"
	"go/build"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/c73062ad/oras"
)

// A transfer is what tools do with a registry.
type transfer struct {
	name    string
	measure func(b *testing.B, p peer)
}

var transfers = []transfer{
	{"PushTree", func(b *testing.B, p peer) { pushAll(b, p, sourceTree(b), ours, orasGo) }},
	{"PullTree", func(b *testing.B, p peer) { pullAll(b, p, sourceTree(b), 0, ours, orasGo) }},
	{"PushMany", func(b *testing.B, p peer) { pushAll(b, p, manySmall(b), ours, orasGo, regctl) }},
	{"PushFar", func(b *testing.B, p peer) { pushFar(b, p, manySmall(b), ours, orasGo) }},
	{"PushLarge", func(b *testing.B, p peer) { pushAll(b, p, oneLarge(b), ours, orasGo, regctl) }},
	{"PullLarge", func(b *testing.B, p peer) { pullAll(b, p, oneLarge(b), 0, ours, orasGo, crane, regctl) }},
	{"PullThrottled", func(b *testing.B, p peer) { pullAll(b, p, oneLarge(b), 40e6, ours, orasGo) }},
	{"Copy", func(b *testing.B, p peer) { copyAll(b, p, oneLarge(b), ours, orasGo, crane, regctl) }},
	{"KillPush", killPush},
	{"KillPull", killPull},
	{"Resets", resets},
}

// BenchmarkTransfers lets this project's program and those of others move the same
// content to and from the same registries: ours, and distribution. Each is a process
// whose start counts. What oras-go is said to take is what the oras command line v1.3
// takes: see cmd/orasgo.
func BenchmarkTransfers(b *testing.B) {
	for _, t := range transfers {
		for _, p := range peers[:2] {
			b.Run(t.name+"/"+p.name, func(b *testing.B) {
				for b.Loop() {
					t.measure(b, p)
				}
			})
		}
	}
}

// rounds is how often each tool does its work.
func rounds() int {
	if testing.Short() {
		return 1
	}
	return 3
}

// A content is what an artifact is made of.
type content struct {
	dir   string
	names []string // of files and directories in it
	large oras.Descriptor
}

// sourceTree is Go's own source tree, 11,000 files of 150 MB.
func sourceTree(b *testing.B) content {
	dir, name := build.Default.GOROOT, "src"
	if testing.Short() {
		dir, name = filepath.Join(dir, "src"), "archive"
	}
	if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
		b.Skip(err)
	}
	return content{dir: dir, names: []string{name}}
}

// manySmall is a thousand files of 4 KiB.
func manySmall(b *testing.B) content {
	c := content{dir: b.TempDir()}
	n := 1000
	if testing.Short() {
		n = 50
	}
	for i := range n {
		name := fmt.Sprintf("file%04d", i)
		if err := os.WriteFile(filepath.Join(c.dir, name), small(i), 0o644); err != nil {
			b.Fatal(err)
		}
		c.names = append(c.names, name)
	}
	return c
}

// oneLarge is one file of 1 GiB.
func oneLarge(b *testing.B) content { return oneFile(b, large()) }

// leastBroken is the size in bytes of files whose transfers are broken off in short
// runs: what is much smaller begins anew.
const leastBroken = 24 << 20

func oneFile(b *testing.B, size int64) content {
	c := content{dir: b.TempDir(), names: []string{"big"}}
	c.large = writeRandom(b, filepath.Join(c.dir, "big"), size, 50)
	return c
}

// check checks what was pulled to dir, if it is one file.
func (c content) check(b *testing.B, dir string) {
	b.Helper()
	if c.large.Size == 0 {
		return
	}
	f, err := os.Open(filepath.Join(dir, c.names[0]))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(io.Discard, oras.NewVerifier(f, c.large)); err != nil {
		b.Fatal(err)
	}
}

// pushAll lets tools push c, each to a registry that has nothing yet.
func pushAll(b *testing.B, p peer, c content, tools ...tool) {
	home := b.TempDir()
	compareTools(b, rounds(), inShort(tools), func(t tool) run {
		reg := p.start(b)
		defer reg.drop(c)
		return t.run(b, home, c.dir, t.push(reg.host+"/bench/push:v1", c.names))
	})
}

// pushFar is pushAll to a registry whose answers take 50 ms.
func pushFar(b *testing.B, p peer, c content, tools ...tool) {
	home := b.TempDir()
	compareTools(b, rounds(), inShort(tools), func(t tool) run {
		reg := p.start(b)
		defer reg.drop(c)
		l := (&link{late: 25 * time.Millisecond}).open(b, reg)
		defer l.close()
		return t.run(b, home, c.dir, t.push(l.host+"/bench/push:v1", c.names))
	})
}

// pullAll lets tools pull c, over connections that carry rate bytes a second each, or
// as many as they can if it is 0.
func pullAll(b *testing.B, p peer, c content, rate int64, tools ...tool) {
	home := b.TempDir()
	reg := filled(b, p, c)
	defer reg.remove()
	host := reg.host
	if rate > 0 {
		l := (&link{rate: rate}).open(b, reg)
		defer l.close()
		host = l.host
	}
	compareTools(b, rounds(), inShort(tools), func(t tool) run {
		// Trees are removed when all was measured, by TestMain: for minutes
		// ext4 looks long for inodes where many were freed.
		dir, err := os.MkdirTemp(filepath.Dir(program), t.name)
		if err != nil {
			b.Fatal(err)
		}
		if c.large.Size > 0 {
			defer os.RemoveAll(dir)
		}
		r := t.run(b, home, dir, t.pull(host+"/bench/fill:v1"))
		if t.name != crane.name { // whose layout has names of its own
			c.check(b, dir)
		}
		return r
	})
}

// copyAll lets tools copy c from one registry to another of its kind.
func copyAll(b *testing.B, p peer, c content, tools ...tool) {
	home := b.TempDir()
	src := filled(b, p, c)
	defer src.remove()
	compareTools(b, rounds(), inShort(tools), func(t tool) run {
		dst := p.start(b)
		defer dst.remove()
		return t.run(b, home, home, t.copy(src.host+"/bench/fill:v1", dst.host+"/bench/copy:v1"))
	})
}

// inShort leaves what takes long to build out of short runs.
func inShort(tools []tool) []tool {
	if testing.Short() {
		return tools[:2]
	}
	return tools
}

// filled returns a registry that oras-go pushed c to.
func filled(b *testing.B, p peer, c content) *registry {
	b.Helper()
	reg := p.start(b)
	orasGo.run(b, b.TempDir(), c.dir, orasGo.push(reg.host+"/bench/fill:v1", c.names))
	return reg
}

// killPush kills a push of a large file when 9 of 10 bytes are on their way, and
// reports how much of it moves when it is run again, in percent.
func killPush(b *testing.B, p peer) {
	c := oneFile(b, max(large(), leastBroken))
	for _, t := range []tool{ours, orasGo} {
		reg := p.start(b)
		killed(b, t, reg, c, c.dir, func(host string) []string { return t.push(host+"/bench/kill:v1", c.names) })
		reg.remove()
	}
}

// killPull is killPush for a pull.
func killPull(b *testing.B, p peer) {
	c := oneFile(b, max(large(), leastBroken))
	reg := filled(b, p, c)
	defer reg.remove()
	for _, t := range []tool{ours, orasGo} {
		dir := b.TempDir()
		killed(b, t, reg, c, dir, func(host string) []string { return t.pull(host + "/bench/fill:v1") })
		c.check(b, dir)
		os.RemoveAll(dir)
	}
}

func killed(b *testing.B, t tool, reg *registry, c content, dir string, args func(host string) []string) {
	b.Helper()
	l := (&link{hold: c.large.Size / 10 * 9}).open(b, reg)
	defer l.close()
	home := b.TempDir()
	cmd := t.command(b, home, dir, args(l.host))
	ended := make(chan error, 1)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func() { ended <- cmd.Wait() }()
	select {
	case <-l.holds:
	case err := <-ended:
		b.Fatalf("%s ended before it could be killed: %v", t.name, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		b.Fatal(err)
	}
	<-ended
	l.breakOff()
	before := l.moved.Load()
	again := t.run(b, home, dir, args(l.host))
	b.ReportMetric(100*float64(l.moved.Load()-before)/float64(c.large.Size), t.name+"-again-%")
	b.ReportMetric(max(maxRSS(cmd), again.rss), t.name+"-MiB")
	b.ReportMetric(0, "ns/op") // means nothing here
}

// resets pushes and pulls a file of 200 MB over connections that are reset when they
// have carried a quarter of it, and reports how many times its bytes have moved.
func resets(b *testing.B, p peer) {
	size := int64(200e6)
	if testing.Short() {
		size = leastBroken
	}
	c := oneFile(b, size)
	reg := p.start(b)
	defer reg.remove()
	home, out := b.TempDir(), b.TempDir()
	move := func(dir, metric string, args func(ref string) []string) float64 {
		l := (&link{cut: size / 4}).open(b, reg)
		defer l.close()
		r := ours.run(b, home, dir, args(l.host+"/bench/resets:v1"))
		b.ReportMetric(float64(l.moved.Load())/float64(size), metric)
		return r.rss
	}
	push := move(c.dir, "pushed/size", func(ref string) []string { return ours.push(ref, c.names) })
	pull := move(out, "pulled/size", ours.pull)
	c.check(b, out)
	if err := errors.Join(os.RemoveAll(out), os.RemoveAll(c.dir)); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(max(push, pull), "ours-MiB")
	b.ReportMetric(0, "ns/op") // means nothing here
}
