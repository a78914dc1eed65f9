package main

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestSignal runs commands whose context was ended by a signal: that is what they
// say, in one line.
func TestSignal(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt signal received"))
	for _, args := range []string{
		"pull localhost:1/a:v1",
		"push localhost:1/a:v1",
		"attach localhost:1/a:v1 --artifact-type t/a -a k=v",
		"discover localhost:1/a:v1",
		"cp localhost:1/a:v1 localhost:1/b:v1",
		"cp localhost:1/a:v1 localhost:1/b",
		"tag localhost:1/a:v1 v2",
		"resolve localhost:1/a:v1",
	} {
		t.Run(args, func(t *testing.T) {
			var out, err strings.Builder
			if status := run(ctx, strings.Fields(args), console{strings.NewReader(""), &out, &err}); status != 1 {
				t.Errorf("exit status %d", status)
			}
			if text := err.String(); !strings.HasPrefix(text, "Error") || !strings.HasSuffix(text, "interrupt signal received\n") || strings.Count(text, "\n") != 1 {
				t.Errorf("it says %q", text)
			}
			if out.Len() > 0 {
				t.Errorf("it prints %q", out.String())
			}
		})
	}
}
