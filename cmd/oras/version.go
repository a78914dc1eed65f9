package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// version is this program's; a release may set it with -ldflags.
var version = "1.4.0-dev"

func newVersionCommand(con console) *cobra.Command {
	return &cobra.Command{
		Use:   "version [flags]",
		Short: "Show the oras version information",
		Long: `Show the oras version information

Example - Print the version:
  oras version
`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				fmt.Fprintf(con.err, "warning: `%s` requires no argument, %q will be ignored\n", cmd.CommandPath(), strings.Join(args, ","))
			}
			rows := [][2]string{
				{"Version", version},
				{"Go version", runtime.Version()},
				{"OS/Arch", runtime.GOOS + "/" + runtime.GOARCH},
			}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					switch s.Key {
					case "vcs.revision":
						rows = append(rows, [2]string{"Git commit", s.Value})
					case "vcs.modified":
						if s.Value == "true" {
							rows = append(rows, [2]string{"Git tree state", "dirty"})
						}
					}
				}
			}
			width := 0
			for _, row := range rows {
				width = max(width, len(row[0]))
			}
			for _, row := range rows {
				if _, err := fmt.Fprintf(con.out, "%-*s %s\n", width+1, row[0]+":", row[1]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
