#!/usr/bin/env bash
# Runs every check of this repository; see CONTRIBUTING.md, "Test". Installs what it
# needs by package name.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The temporary files of tests are in memory where it has room for them, and programs
# can run from there: nothing that is tested rests on a disk, and a good third of the
# time went into waiting for one to sync.
memory=/dev/shm
room=$(df --output=avail -BG "$memory" 2>/dev/null | tail -n 1 | tr -dc 0-9) || room=0
if [ -z "${TMPDIR-}" ] && [ "${room:-0}" -ge 6 ] && [ "$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)" -ge 8 ]; then
	TMPDIR=$(mktemp -d "$memory/oras-test.XXXXXX")
	trap 'chmod -R u+rwx "$TMPDIR" && rm -rf "$TMPDIR"' EXIT
	cp "$(type -P true)" "$TMPDIR/true"
	if "$TMPDIR/true" 2>/dev/null; then export TMPDIR; fi
fi

step() { printf '\n== %s\n' "$*"; }

# jq is for the scripts that run command lines out of documents, the shells are for
# the test that lets them complete, strace is for those of what is synced.
if ! (command -v jq && command -v zsh && command -v fish && command -v strace) >/dev/null || [ ! -e /usr/share/bash-completion/bash_completion ]; then
	step "install jq, zsh, fish, bash-completion and strace"
	apt-get update -qq && apt-get install -y -qq --no-install-recommends jq zsh fish bash-completion strace
fi

step "formatting"
unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
	echo "not formatted by gofmt:" "$unformatted" >&2
	exit 1
fi

step "modules are tidy"
go mod tidy -diff
(cd compat && go mod tidy -diff)
(cd bench && go mod tidy -diff)

step "vet, and build for the other systems"
go vet ./...
(cd compat && go vet ./...)
(cd bench && go vet ./...)
GOOS=windows go vet ./...
GOOS=darwin go build ./...

step "tests"
go test -parallel 4 ./... # some wait more than they compute

step "tests with the race detector, where there is concurrency"
go test -race -short . ./memory ./layout ./bucket ./file ./archive ./auth ./remote ./server ./internal/...
# Each process of the program would wait a second at its end for more races.
GORACE=atexit_sleep_ms=10 go test -race -short -parallel 4 ./cmd/oras -run 'TestServe|Signal|Trace|Progress|Terminal|TestScripts/^(cp|push|pull|backup|restore)$'

step "the quick start"
./quickstart.sh | tail -n 2

step "against other implementations"
(cd compat && go test ./...)

step "benchmarks compile and run once"
(cd bench && go test -run '^$' -bench . -benchtime 1x -short ./...)
