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
	work=$(mktemp -d "$memory/oras-test.XXXXXX")
	cp "$(type -P true)" "$work/true"
	if "$work/true" 2>/dev/null; then export TMPDIR=$work; fi
else
	work=$(mktemp -d)
fi
beside= # the group of processes that runs beside the tests
finish() {
	if [ -n "$beside" ]; then
		kill -- "-$beside" && wait "$beside"
	fi 2>/dev/null || true
	chmod -R u+rwx "$work" && rm -rf "$work"
}
trap finish EXIT

step() { printf '\n== %s\n' "$*"; }

# jq is for the scripts that run command lines out of documents, the shells are for
# the test that lets them complete, strace is for those of what is synced, btrfs for that
# of files that share blocks.
if ! (command -v jq && command -v zsh && command -v fish && command -v strace && command -v mkfs.btrfs) >/dev/null || [ ! -e /usr/share/bash-completion/bash_completion ]; then
	step "install jq, zsh, fish, bash-completion, strace and btrfs-progs"
	apt-get update -qq && apt-get install -y -qq --no-install-recommends jq zsh fish bash-completion strace btrfs-progs
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

step "vet"
go vet ./...
(cd compat && go vet ./...)
(cd bench && go vet ./...)

# These run beside the tests, many of which wait more than they compute; what they
# print comes after them.
others() {
	step "vet, and build for the other systems"
	GOOS=windows go vet ./...
	GOOS=darwin go build ./...

	step "the quick start"
	./quickstart.sh | tail -n 2

	step "tests of the program with the race detector"
	# Each process of the program would wait a second at its end for more races.
	GORACE=atexit_sleep_ms=10 go test -vet=off -race -short -parallel 4 ./cmd/oras -run 'TestServe|Signal|Trace|Progress|Terminal|TestScripts/^(cp|push|pull)$'

	step "against other implementations"
	(cd compat && go test -vet=off ./...)

	step "benchmarks compile and run once"
	(cd bench && go test -vet=off -run '^$' -bench . -benchtime 1x -short ./...)
}
set -m # a group of its own
others >"$work/others" 2>&1 &
beside=$!
set +m

step "tests"
go test -vet=off -parallel 4 ./... # vet had a step of its own

step "tests with the race detector, where there is concurrency"
go test -vet=off -race -short . ./memory ./layout ./bucket ./file ./archive ./auth ./remote ./server ./internal/...

status=0
wait "$beside" || status=$?
beside=
cat "$work/others"
exit "$status"
