package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// TestTuneMemory: how much garbage there may be follows what is in use.
func TestTuneMemory(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(usual)
	defer debug.SetGCPercent(before)
	tuneMemory()
	becomes := func(percent uint64) {
		t.Helper()
		var got uint64
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			runtime.GC()
			now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
			metrics.Read(now)
			if got = now[0].Value.Uint64(); got == percent {
				return
			}
		}
		t.Errorf("GOGC is %d, want %d", got, percent)
	}
	becomes(patient)
	held := make([]byte, 2*littleMemory)
	becomes(usual)
	runtime.KeepAlive(held)
}
