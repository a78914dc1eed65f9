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
	becomes := func(least, most uint64) {
		t.Helper()
		var got uint64
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			runtime.GC()
			now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
			metrics.Read(now)
			if got = now[0].Value.Uint64(); least <= got && got <= most {
				return
			}
		}
		t.Errorf("GOGC is %d, want %d to %d", got, least, most)
	}
	becomes(2*usual, mostPatient)
	held := make([]byte, 2*wantedHeap)
	becomes(leastPatient, leastPatient)
	runtime.KeepAlive(held)
}

func TestPatience(t *testing.T) {
	const mib = 1 << 20
	for live, want := range map[uint64]int{
		0: mostPatient, 1: mostPatient, 6 * mib: mostPatient, 8 * mib: 299, 16 * mib: 99, 24 * mib: leastPatient, 32 * mib: leastPatient, 1 << 40: leastPatient,
	} {
		if got := patience(live); got != want {
			t.Errorf("with %d bytes in use GOGC is %d, want %d", live, got, want)
		}
	}
}
