package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// dataFlag is the --data of commands about the folder of a registry.
type dataFlag struct{ data string }

func (f *dataFlag) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.data, "data", "oras-data", "`directory` that \"oras serve\" keeps everything in")
}

// open opens the folder, which must be there.
func (f *dataFlag) open() (*bucket.Dir, error) {
	data, err := (*bucket.Dir)(nil), errNoData
	if f.data != "" {
		data, err = bucket.OpenExistingDir(f.data)
	}
	if err != nil {
		return nil, hint(err, `Name the directory that "oras serve" keeps its data in with --data`)
	}
	return data, nil
}

// errNoData is that of --data "$UNSET", which is not to mean the working directory.
var errNoData = errors.New("--data: the path of the data folder cannot be empty")

// openOrMake opens the folder, which is made if it is not there. One of other files,
// which are not to be mixed with those of a registry, is refused.
func (f *dataFlag) openOrMake() (*bucket.Dir, error) {
	if f.data == "" {
		return nil, hint(errNoData, "Name a directory, which is made if it is not there")
	}
	open := bucket.OpenDir
	if holdsFiles(f.data) {
		open = bucket.OpenExistingDir
	}
	data, err := open(f.data)
	var number syscall.Errno
	switch {
	case err == nil:
		return data, nil
	case errors.Is(err, oras.ErrNotFound):
		return nil, hint(fmt.Errorf("data folder %s: it holds other files, and no registry", f.data),
			"Name an empty directory, or the one of a registry, with --data")
	case errors.As(err, &number): // what was being done means nothing to the user
		return nil, hint(fmt.Errorf("data folder %s: %w", f.data, number), "Name a directory that can be written with --data")
	}
	return nil, hint(err, "Name an empty directory, or the one of a registry, with --data")
}

// holdsFiles reports whether the directory path has files that no registry made, or
// may have. What a registry makes first begins with "."; once it has a journal, what
// else there is may be in that alone.
func holdsFiles(path string) bool {
	entries, err := os.ReadDir(path)
	if err != nil {
		return false // opening it says why
	}
	holds := false
	for _, e := range entries {
		if e.Name() == ".journal" {
			return false
		}
		holds = holds || !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found"
	}
	return holds
}

type serveGCCommand struct {
	dataFlag
	opts bucket.CollectOptions
}

func newServeGCCommand(con console) *cobra.Command {
	var c serveGCCommand
	cmd := &cobra.Command{
		Use:   "gc [flags]",
		Short: "Delete what a registry does not need",
		Long: `Delete from the data folder of a registry what nothing needs: blobs that no manifest
of their repository refers to, uploads that were given up, content that no repository has
any longer, and what interrupted work left. Manifests stay unless --untagged is given.

The registry can go on being served meanwhile, and others can push to it. What was pushed
or asked for within --grace stays.

Example - Say what would be deleted, and how many bytes that would free:
  oras serve gc --data /srv/registry --dry-run

Example - Delete it, and manifests that no tag leads to and nobody asked for in 30 days:
  oras serve gc --data /srv/registry --untagged 720h
`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con) },
	}
	fs := cmd.Flags()
	c.dataFlag.register(fs)
	fs.BoolVar(&c.opts.DryRun, "dry-run", false, "delete nothing, and say what would be deleted")
	fs.DurationVar(&c.opts.Grace, "grace", time.Hour, "`time` for which blobs are kept after they were pushed, mounted or asked for; at least 5m")
	fs.DurationVar(&c.opts.Untagged, "untagged", 0, "`time` for which manifests are kept that no tag leads to, after they were pushed or asked for by digest; 0 keeps them for good")
	fs.DurationVar(&c.opts.Uploads, "uploads", 24*time.Hour, "`time` for which uploads are kept to which nothing is added; 0 keeps none that nobody is sending to")
	return cmd
}

func (c *serveGCCommand) run(cmd *cobra.Command, con console) error {
	for name, value := range map[string]time.Duration{"grace": c.opts.Grace, "untagged": c.opts.Untagged, "uploads": c.opts.Uploads} {
		if value < 0 {
			return fmt.Errorf("--%s %v: time cannot be negative", name, value)
		}
	}
	if c.opts.Grace < bucket.LeastGrace {
		fmt.Fprintf(con.err, "WARNING: --grace %v: blobs are kept for %v at least, and so they are now\n", c.opts.Grace, bucket.LeastGrace)
		c.opts.Grace = bucket.LeastGrace
	}
	c.opts.Uploads = max(c.opts.Uploads, 1) // 0 would be what it is by default
	data, err := c.open()
	if err != nil {
		return err
	}
	defer data.Close()
	out := &firstErrorWriter{w: con.out}
	c.opts.Event = func(g bucket.Garbage) {
		where := g.Repository
		if where != "" {
			where += ": "
		}
		fmt.Fprintf(out, "%s%s %s: %s\n", where, g.Kind, printable(g.Name), count(g.Bytes, "byte"))
	}
	done, err := bucket.New(data).Collect(cmd.Context(), &c.opts)
	text := "Deleted %s of %s; %s free\n"
	if c.opts.DryRun {
		text = "Would delete %s of %s; %s would be free\n"
	}
	fmt.Fprintf(out, text, count(int64(done.Objects), "object"), count(int64(done.Repositories), "repository"), count(done.Bytes, "byte"))
	if err != nil {
		return hint(err, `Run "oras serve check" to see what is wrong, and "oras serve check --repair" to mend it`)
	}
	return out.err
}

// count returns n and the noun for as many.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		noun = stem + "ie"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &usageError{
		err:   fmt.Errorf("%q takes no argument, but got %q", cmd.CommandPath(), strings.Join(args, " ")),
		usage: usageLine(cmd),
		hint:  fmt.Sprintf("Run %q for options and examples", cmd.CommandPath()+" -h"),
	}
}

// A firstErrorWriter writes until it cannot, and keeps why.
type firstErrorWriter struct {
	w   io.Writer
	err error
}

func (w *firstErrorWriter) Write(p []byte) (n int, err error) {
	if w.err == nil {
		n, w.err = w.w.Write(p)
	}
	return n, w.err
}
