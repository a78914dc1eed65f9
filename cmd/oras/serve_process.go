package main

import (
	"math"
	"runtime"
	"time"

	"github.com/c73062ad/oras/server"
)

var started = time.Now()

// processMetrics are those of the process, under the names that Prometheus' own
// libraries give them.
func processMetrics() []server.Metric {
	value := func(name, help string, counter bool, of func() (float64, error)) server.Metric {
		return server.Metric{Name: name, Help: help, Counter: counter, Value: func() float64 {
			v, err := of()
			if err != nil { // not on this system
				return math.NaN()
			}
			return v
		}}
	}
	return []server.Metric{
		{Name: "oras_build_info", Help: "Always 1.", Labels: []string{"version", version, "go", runtime.Version()}, Value: func() float64 { return 1 }},
		{Name: "go_goroutines", Help: "Goroutines there are.", Value: func() float64 { return float64(runtime.NumGoroutine()) }},
		{Name: "process_start_time_seconds", Help: "When the process started, in seconds since 1970.",
			Value: func() float64 { return float64(started.UnixMilli()) / 1000 }},
		value("process_cpu_seconds_total", "Time of the processor that the process took.", true, cpuSeconds),
		value("process_resident_memory_bytes", "Memory of the process that is not swapped out.", false, residentBytes),
		value("process_open_fds", "Open file descriptors.", false, openDescriptors),
		value("process_max_fds", "File descriptors that there may be.", false, maxDescriptors),
	}
}
