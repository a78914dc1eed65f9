// Package bench measures this project, side by side with peers in one run where
// there are some. It is a module of its own so that they are dependencies of
// nothing else.
//
//	go test -bench .            everything, with content of 1 GiB
//	go test -bench . -short     with content of 8 MiB, to see that it works
package bench
