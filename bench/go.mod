module github.com/c73062ad/oras/bench

go 1.26.0

require (
	github.com/c73062ad/oras v0.0.0
	github.com/opencontainers/image-spec v1.1.1
	oras.land/oras-go/v2 v2.6.4
)

require (
	github.com/gofrs/flock v0.13.1 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/c73062ad/oras => ../
