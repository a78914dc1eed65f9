package main

import (
	"context"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/c73062ad/oras"
)

// A completed is what an argument is, for shells that complete it.
type completed int

const (
	completedReference  completed = iota // of the target: repositories, then tags
	completedSource                      // the same, of the side that is copied from
	completedTarget                      // and of the other
	completedRepository                  // repositories
	completedTag                         // of the first argument's repository; repeated
	completedFile                        // left to the shell; repeated
)

// completedArgs are the arguments of each command.
var completedArgs = map[string][]completed{
	"push":                  {completedReference, completedFile},
	"pull":                  {completedReference},
	"attach":                {completedReference, completedFile},
	"discover":              {completedReference},
	"cp":                    {completedSource, completedTarget},
	"tag":                   {completedReference, completedTag},
	"resolve":               {completedReference},
	"backup":                {completedReference},
	"restore":               {completedReference},
	"repo ls":               {completedRepository},
	"repo tags":             {completedReference},
	"blob fetch":            {completedRepository},
	"blob push":             {completedRepository, completedFile},
	"blob delete":           {completedRepository},
	"manifest fetch":        {completedReference},
	"manifest fetch-config": {completedReference},
	"manifest push":         {completedReference, completedFile},
	"manifest delete":       {completedReference},
	"manifest index create": {completedReference, completedTag},
	"manifest index update": {completedReference},
	"login":                 {},
	"logout":                {},
	"version":               {},
}

// completedValues are what flags may be set to, by their names without from- or
// to-.
var completedValues = map[string][]string{
	"distribution-spec": {string(referrersAPI), string(referrersTag)},
	"image-spec":        {"v1.1", "v1.0"},
}

// completedTagFlags are flags whose values are manifests of the first argument's
// repository.
var completedTagFlags = []string{"add", "merge", "tag"}

// registerCompletion makes shells complete arguments and flags of cmd, and of the
// commands below it.
func registerCompletion(cmd *cobra.Command) {
	if cmd.Name() == "completion" { // cobra's own; it has nothing against shells it does not know
		cmd.Args, cmd.RunE = cobra.ArbitraryArgs, runParent
		return
	}
	for _, sub := range cmd.Commands() {
		registerCompletion(sub)
	}
	_, name, _ := strings.Cut(cmd.CommandPath(), " ")
	args, ok := completedArgs[name]
	if !ok {
		return
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, before []string, text string) ([]string, cobra.ShellCompDirective) {
		return completeArgument(cmd, args, before, text)
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		base := strings.TrimPrefix(strings.TrimPrefix(f.Name, "from-"), "to-")
		values := completedValues[base]
		if f.Name == "format" {
			values = f.Annotations[formatsAnnotation]
		}
		if len(values) > 0 {
			registerFlagCompletion(cmd, f.Name, func(_ *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
				return slices.DeleteFunc(slices.Clone(values), func(value string) bool { return !strings.HasPrefix(value, text) }), cobra.ShellCompDirectiveNoFileComp
			})
		}
	})
	if name == "manifest index update" {
		for _, flag := range completedTagFlags {
			registerFlagCompletion(cmd, flag, func(cmd *cobra.Command, before []string, text string) ([]string, cobra.ShellCompDirective) {
				if len(before) == 0 {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return completeArgument(cmd, []completed{completedReference, completedTag}, before[:1], text)
			})
		}
	}
}

func registerFlagCompletion(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // the flag is not there
	}
}

// completionTime is how long a shell may wait.
const completionTime = 1800 * time.Millisecond

// maxCompletions is how many words a shell is offered.
const maxCompletions = 1000

// completeArgument returns what text, which is behind the arguments before, can
// become. It asks registries and layouts, for a limited time, and says nothing of
// what goes wrong: it is in the middle of somebody's typing.
func completeArgument(cmd *cobra.Command, args []completed, before []string, text string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	if len(args) == 0 || len(before) >= len(args) && args[len(args)-1] < completedTag {
		return nil, none
	}
	kind := args[min(len(before), len(args)-1)]
	if kind == completedFile {
		return nil, cobra.ShellCompDirectiveDefault
	}
	if setFromEnvironment(cmd) != nil {
		return nil, none
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	c := &completer{
		target: completionTarget(cmd.Flags(), kind),
		env:    &environment{con: console{strings.NewReader(""), io.Discard, io.Discard}},
	}
	if kind != completedTag {
		return c.reference(ctx, kind, text)
	}
	if c.target.parse(before[0]) != nil {
		return nil, none
	}
	return c.collect(ctx, "", text, c.tags), none
}

// completionTarget returns the target that the flags mean.
func completionTarget(flags *pflag.FlagSet, kind completed) *target {
	prefix := map[completed]string{completedSource: "from-", completedTarget: "to-"}[kind]
	t := &target{}
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	t.register(own, prefix, "")
	flags.Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if many, ok := f.Value.(pflag.SliceValue); ok {
			values = many.GetSlice()
		}
		if f.Name == "resolve" && prefix != "" {
			t.baseResolve = values
		}
		for _, value := range values {
			own.Set(f.Name, value) // one that it does not have, it does not need
		}
	})
	return t
}

// A completer finds words.
type completer struct {
	target *target
	env    *environment

	mu    sync.Mutex
	words []string
}

// reference completes a whole reference: the repository, then the tag, of which
// there may be several with commas between.
func (c *completer) reference(ctx context.Context, kind completed, text string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	t := c.target
	if t.layoutPath != "" {
		t.name = t.layoutPath
		return c.collect(ctx, "", text, c.tags), none
	}
	name, tags, tagged := text, "", false
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexAny(text, `/\`) && (t.layout || strings.Contains(text[:i], "/")) {
		name, tags, tagged = text[:i], text[i+1:], true
	}
	switch {
	case strings.Contains(text, "@") || tagged && kind == completedRepository:
		return nil, none // a digest, which nobody types
	case tagged && t.parse(name+":") == nil:
		typed := tags[strings.LastIndexByte(tags, ',')+1:]
		return c.collect(ctx, strings.TrimSuffix(text, typed), typed, c.tags), none
	case t.layout && !tagged:
		return nil, cobra.ShellCompDirectiveDefault
	}
	host, path, ok := strings.Cut(text, "/")
	if !ok || tagged || oras.CheckRegistry(host) != nil {
		return nil, none
	}
	return c.collect(ctx, host+"/", path, func(ctx context.Context, each func([]string) error) error {
		registry, err := c.env.registry(&t.remoteFlags, host)
		if err != nil {
			return err
		}
		return registry.Repositories(ctx, "", each)
	}), none | cobra.ShellCompDirectiveNoSpace
}

// tags lists those of the target.
func (c *completer) tags(ctx context.Context, each func([]string) error) error {
	s, err := c.target.openRead(ctx, c.env)
	if err != nil {
		return err
	}
	return s.Tags(ctx, "", each)
}

// wordGrammar is of what no shell takes for anything but a word, and no terminal
// for anything but text.
var wordGrammar = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9._:/+-]+$`) })

var errEnough = errors.New("enough")

// collect returns what list lists until ctx is done, and begins with text, behind
// prefix.
func (c *completer) collect(ctx context.Context, prefix, text string, list func(context.Context, func([]string) error) error) []string {
	waitFor(ctx, func() (any, error) {
		return nil, list(ctx, func(page []string) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, word := range page {
				if strings.HasPrefix(word, text) && wordGrammar().MatchString(word) {
					c.words = append(c.words, prefix+word)
				}
				if len(c.words) == maxCompletions {
					return errEnough
				}
			}
			return nil
		})
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.words)
}
