package main

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/c73062ad/oras/bucket"
	"github.com/c73062ad/oras/server"
)

// collectFlags say when garbage is collected, and what is garbage.
type collectFlags struct {
	interval, grace, untagged, uploads time.Duration
}

func (f *collectFlags) register(fs *pflag.FlagSet) {
	fs.DurationVar(&f.interval, "gc-interval", 24*time.Hour, "`time` between two collections of garbage; 0 is never")
	fs.DurationVar(&f.grace, "gc-grace", time.Hour, "`time` that content is kept to which no manifest refers, since it was last pushed, mounted or asked for; 5 minutes at least")
	fs.DurationVar(&f.untagged, "gc-untagged", 0, "`time` that manifests are kept to which no tag leads, since they were last pushed or asked for; 0 keeps them")
	fs.DurationVar(&f.uploads, "gc-uploads", 24*time.Hour, "`time` that uploads are kept to which nothing was added; 5 minutes at least")
}

func (f *collectFlags) check() error {
	if f.interval < 0 || f.untagged < 0 {
		return errors.New("--gc-interval and --gc-untagged cannot be negative")
	}
	if f.grace < bucket.LeastGrace || f.uploads < bucket.LeastGrace {
		return errors.New("--gc-grace and --gc-uploads must be 5 minutes at least")
	}
	return nil
}

const firstCollection = 5 * time.Minute // after the start, or when the interval has passed if that is less

// A schedule collects garbage every now and then, and counts it. Other processes may
// do so, too.
type schedule struct {
	flags    *collectFlags
	registry *bucket.Registry
	data     string
	log      *slog.Logger

	mu             sync.Mutex
	runs, failures int
	objects        int
	freed          int64
	last           time.Time // that one ended well
	took           time.Duration
	used           usage // measured then
}

// start begins to collect garbage, unless the flags say never, or the registry is not
// to be written. What it returns stops that, and waits until it has stopped.
func (f *collectFlags) start(ctx context.Context, readOnly bool, registry *bucket.Registry, data string, metrics *server.Metrics, logger *slog.Logger) (stop func()) {
	if f.interval == 0 || readOnly {
		return func() {}
	}
	s := &schedule{flags: f, registry: registry, data: data, log: logger}
	metrics.Add(s.metrics()...)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *schedule) run(ctx context.Context) {
	wait := min(firstCollection, s.flags.interval)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		s.collect(ctx)
		wait = s.flags.interval
	}
}

func (s *schedule) collect(ctx context.Context) {
	begin := time.Now()
	done, err := s.registry.Collect(ctx, &bucket.CollectOptions{
		Grace: s.flags.grace, Untagged: s.flags.untagged, Uploads: s.flags.uploads, Event: s.collected,
	})
	if ctx.Err() != nil {
		return
	}
	took := time.Since(begin)
	var used usage
	if measureErr := used.measure(ctx, s.data); measureErr != nil {
		if ctx.Err() != nil {
			return
		}
		s.log.Warn("the data folder cannot be measured", "error", measureErr)
		used = usage{}
	}
	level, message := slog.LevelInfo, "garbage collected"
	attrs := []slog.Attr{slog.Int("repositories", done.Repositories), slog.Int("objects", done.Objects),
		slog.Int64("bytes", done.Bytes), slog.Float64("ms", float64(took.Microseconds())/1000)}
	if err != nil {
		level, message = slog.LevelError, "garbage could not all be collected"
		attrs = append(attrs, slog.Any("error", err))
	}
	s.log.LogAttrs(ctx, level, message, attrs...)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	s.objects += done.Objects
	s.freed += done.Bytes
	s.took, s.used = took, used
	if err != nil {
		s.failures++
	} else {
		s.last = time.Now()
	}
}

// collected logs what somebody may look for: a manifest that was garbage.
func (s *schedule) collected(g bucket.Garbage) {
	if g.Kind == bucket.GarbageManifest {
		s.log.Info("audit", "action", "collect", "repository", g.Repository, "digest", g.Name, "result", "ok")
	}
}

func (s *schedule) metrics() []server.Metric {
	value := func(name, help string, counter bool, of func() float64) server.Metric {
		return server.Metric{Name: name, Help: help, Counter: counter, Value: func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return of()
		}}
	}
	once := func(known bool, v float64) float64 {
		if !known {
			return math.NaN()
		}
		return v
	}
	return []server.Metric{
		value("oras_gc_runs_total", "Collections of garbage that have ended.", true, func() float64 { return float64(s.runs) }),
		value("oras_gc_failures_total", "Collections of garbage that ended with an error.", true, func() float64 { return float64(s.failures) }),
		value("oras_gc_objects_total", "Objects that were garbage and are deleted.", true, func() float64 { return float64(s.objects) }),
		value("oras_gc_freed_bytes_total", "What the disk has more of by that.", true, func() float64 { return float64(s.freed) }),
		value("oras_gc_last_success_timestamp_seconds", "When the last collection ended that went well, in seconds since 1970.", false,
			func() float64 { return once(!s.last.IsZero(), float64(s.last.UnixMilli())/1000) }),
		value("oras_gc_last_duration_seconds", "How long the last collection took.", false, func() float64 { return once(s.runs > 0, s.took.Seconds()) }),
		value("oras_storage_bytes", "What the data folder took of the disk after the last collection.", false,
			func() float64 { return once(s.used.files > 0, s.used.bytes) }),
		value("oras_storage_files", "Files and folders in the data folder after the last collection.", false,
			func() float64 { return once(s.used.files > 0, float64(s.used.files)) }),
	}
}
