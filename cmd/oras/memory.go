package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much garbage there may be, as GOGC says it: in percent of what is in use.
const (
	wantedHeap   = 32 << 20 // bytes that both together should be
	leastPatient = 50
	mostPatient  = 400
	usual        = 100
)

// tuneMemory lets garbage be collected less often than Go does by itself while little
// memory is in use, which is looked through every few hundred small requests otherwise,
// and more often where much is. The variable GOGC has precedence.
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
		now := patience(live[0].Value.Uint64())
		if now != percent {
			debug.SetGCPercent(now)
		}
		tuneAfterCollection(now)
	}, percent)
}

// patience returns what GOGC should be where so many bytes are in use.
func patience(live uint64) int {
	return int(min(max((wantedHeap-int64(live))/(int64(live)/100+1), leastPatient), mostPatient))
}
