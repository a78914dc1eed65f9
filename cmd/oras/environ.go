package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// setFromEnvironment gives each flag that is not on the command line the value of
// the environment variable ORAS_<FLAG>, if there is one: ORAS_CA_FILE for
// --ca-file.
func setFromEnvironment(cmd *cobra.Command) (err error) {
	fs := cmd.Flags()
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || f.Hidden || err != nil {
			return
		}
		name := "ORAS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || value == "" {
			return
		}
		if e := fs.Set(f.Name, value); e != nil {
			err = fmt.Errorf("environment variable %s: %w", name, e)
		}
	})
	return err
}
