package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	littleMemory = 8 << 20 // bytes in use, below which garbage may be several times that
	patient      = 400     // what GOGC then is
	usual        = 100
)

// tuneMemory lets garbage be collected less often than Go does by itself while little
// memory is in use, which is looked through every few hundred small requests
// otherwise. Where more is in use it is as ever. The variable GOGC has precedence.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		tuneAfterCollection(usual)
	}
}

// tuneAfterCollection decides what GOGC is, which is percent now, after each collection
// from the next on.
func tuneAfterCollection(percent int) {
	runtime.AddCleanup(new([64]byte), func(percent int) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		now := usual
		if live[0].Value.Uint64() < littleMemory {
			now = patient
		}
		if now != percent {
			debug.SetGCPercent(now)
		}
		tuneAfterCollection(now)
	}, percent)
}
