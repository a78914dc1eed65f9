package remote

import "time"

// What is waited for in the tests is over sooner.
func init() {
	firstPause = 5 * time.Millisecond
	settle = 30 * time.Millisecond
}
