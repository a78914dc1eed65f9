package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newRootCommand(con console) *cobra.Command {
	root := &cobra.Command{
		Use:           "oras [command]",
		Short:         "Push, attach, discover, copy and pull any file in OCI registries",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,

		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			noteDeprecated(cmd)
			err := setFromEnvironment(cmd)
			con.terminal().obey(cmd.Flags())
			return err
		},
	}
	root.SetFlagErrorFunc(unknownFlag)
	root.SetIn(con.in)
	root.SetOut(con.out)
	root.SetErr(con.err)
	root.AddCommand(
		newPushCommand(con),
		newPullCommand(con),
		newAttachCommand(con),
		newDiscoverCommand(con),
		newCopyCommand(con),
		newTagCommand(con),
		newResolveCommand(con),
		newBackupCommand(con),
		newRestoreCommand(con),
		newManifestCommand(con),
		newBlobCommand(con),
		newRepoCommand(con),
		newLoginCommand(con),
		newLogoutCommand(con),
		newServeCommand(con),
		newVersionCommand(con),
	)
	root.InitDefaultCompletionCmd()
	registerCompletion(root)
	explainVariables(root)
	return root
}

// unknownFlag adds to err, which parsing cmd's flags failed with, where the flags
// are listed.
func unknownFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return badValue(err)
	}
	return hint(err, "Run %q for the flags there are", cmd.CommandPath()+" -h")
}

// parent returns a command that only has sub-commands.
func parent(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		RunE:  runParent,
	}
	cmd.AddCommand(commands...)
	return cmd
}

// runParent prints the help of a command that only has sub-commands.
func runParent(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		cmd.SuggestionsMinimumDistance = 1
		near := ""
		for _, name := range cmd.SuggestionsFor(args[0]) {
			near += fmt.Sprintf("Did you mean %q? ", cmd.CommandPath()+" "+name)
		}
		return hint(fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()),
			"%sRun %q for what there is", near, cmd.CommandPath()+" -h")
	}
	return cmd.Help()
}

// exactly and atLeast check the number of arguments; what names their purpose.
func exactly(n int, what string) cobra.PositionalArgs {
	return arguments("exactly", n, what, func(got int) bool { return got == n })
}

func atLeast(n int, what string) cobra.PositionalArgs {
	return arguments("at least", n, what, func(got int) bool { return got >= n })
}

func arguments(quantity string, n int, what string, ok func(int) bool) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if ok(len(args)) {
			return nil
		}
		return &usageError{
			err:   fmt.Errorf("%q requires %s %d argument but got %d", cmd.CommandPath(), quantity, n, len(args)),
			usage: usageLine(cmd),
			hint:  fmt.Sprintf("Please specify %s %d argument as %s. Run %q for more options and examples", quantity, n, what, cmd.CommandPath()+" -h"),
		}
	}
}

// usageLine returns how cmd is used, on one line.
func usageLine(cmd *cobra.Command) string {
	path, use := cmd.CommandPath(), cmd.Use
	if _, rest, ok := strings.Cut(use, " "); ok {
		return path + " " + rest
	}
	return path
}
