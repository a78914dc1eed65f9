package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras/bucket"
	"github.com/c73062ad/oras/server"
)

type serveCheckCommand struct {
	dataFlag
	repair bool
	sparse []string
}

func newServeCheckCommand(con console) *cobra.Command {
	var c serveCheckCommand
	cmd := &cobra.Command{
		Use:   "check [flags]",
		Short: "Verify what a registry holds",
		Long: `Read all that the data folder of a registry holds: blobs, which must have the digest
under which they are served, and manifests, tags and lists of referrers, which must agree
with each other. What is wrong is printed, a line for each thing. If something is wrong,
and stays so, the exit status is 1.

With --repair what can be is mended: a blob that is damaged is moved aside, into the
folder _damaged, and taken from another repository that has it whole; tags, lists and
descriptions of manifests are written anew. No content is ever deleted.

Example - Verify everything:
  oras serve check --data /srv/registry

Example - Mend what can be mended:
  oras serve check --data /srv/registry --repair

Example - Let manifests of mirrored repositories refer to what is not there:
  oras serve check --data /srv/registry --sparse "mirror/**=allow"
`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con) },
	}
	fs := cmd.Flags()
	c.dataFlag.register(fs)
	fs.BoolVar(&c.repair, "repair", false, "mend what can be mended")
	fs.StringSliceVar(&c.sparse, "sparse", nil, "`pattern=allow` or pattern=refuse: whether manifests of repositories may refer to what is missing, as \"oras serve\" takes it")
	return cmd
}

func (c *serveCheckCommand) run(cmd *cobra.Command, con console) error {
	rules, err := (&accessFlags{sparse: c.sparse}).options()
	if err != nil {
		return err
	}
	data, err := c.open()
	if err != nil {
		return err
	}
	defer data.Close()
	out := &firstErrorWriter{w: con.out}
	done, err := bucket.New(data).Check(cmd.Context(), &bucket.CheckOptions{
		Repair: c.repair,
		Sparse: func(repository string) bool { return sparse(rules.Sparse, repository) },
		Event:  func(p bucket.Problem) { fmt.Fprintln(out, printable(p.String())) },
	})
	if err != nil {
		return err
	}
	number := func(n int, noun string) string { return count(int64(n), noun) }
	fmt.Fprintf(out, "Checked %s, %s, %s and %s; read %s\n", number(done.Repositories, "repository"),
		number(done.Tags, "tag"), number(done.Manifests, "manifest"), number(done.Blobs, "blob"), count(done.Bytes, "byte"))
	if done.Repaired > 0 {
		fmt.Fprintf(out, "Repaired %s\n", number(done.Repaired, "problem"))
	}
	if wrong := done.Problems - done.Repaired; wrong > 0 {
		err := fmt.Errorf("%s in %s", number(wrong, "problem"), c.data)
		if c.repair {
			return hint(err, "Push again what is missing, or delete what refers to it, and check once more")
		}
		return hint(err, "Mend what can be mended with --repair; what is nowhere whole must be pushed again, or what refers to it deleted")
	}
	return out.err
}

// sparse reports whether rules let manifests of a repository refer to what is not
// there. Without a rule they may not: who asks wants to know.
func sparse(rules []server.SparseRule, repository string) bool {
	for _, rule := range rules {
		if rule.Repositories.Match(repository) {
			return rule.Allow
		}
	}
	return false
}
