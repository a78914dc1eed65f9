package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// sourceDateEpoch returns the time that SOURCE_DATE_EPOCH sets for all that is made
// (reproducible-builds.org/specs/source-date-epoch); the zero time if it is not
// set.
func sourceDateEpoch() (time.Time, error) {
	const name = "SOURCE_DATE_EPOCH"
	text := os.Getenv(name)
	if text == "" {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	at := time.Unix(seconds, 0).UTC()
	if err != nil || seconds < 0 || at.Year() > 9999 {
		return time.Time{}, hint(fmt.Errorf("environment variable %s: %q is not a number of seconds since 1970", name, text),
			"Unset it, or set it to such a number: that of the last commit is what \"git log -1 --format=%%ct\" prints")
	}
	return at, nil
}

// setFromEnvironment gives each flag that is not on the command line the value of
// the environment variable ORAS_<FLAG>, if there is one: ORAS_CA_FILE for
// --ca-file.
func setFromEnvironment(cmd *cobra.Command) (err error) {
	fs := cmd.Flags()
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Changed || !settable(f) || err != nil {
			return
		}
		name := flagVariable(f.Name)
		value, ok := os.LookupEnv(name)
		if !ok || value == "" {
			return
		}
		if e := fs.Set(f.Name, value); e != nil {
			err = hint(fmt.Errorf("environment variable %s: %w", name, badValue(e)),
				"Unset it, or give it a value that --%s takes: run %q for those", f.Name, cmd.CommandPath()+" -h")
			return
		}
		err = fs.SetAnnotation(f.Name, environmentAnnotation, []string{name})
	})
	return err
}

// environmentAnnotation is what a flag has whose value is that of an environment
// variable.
const environmentAnnotation = "oras_environment"

func fromEnvironment(f *pflag.Flag) bool {
	_, ok := f.Annotations[environmentAnnotation]
	return ok
}
