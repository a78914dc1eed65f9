#!/usr/bin/env bash
# Builds oras and walks through its main job on real input, against a registry of
# its own: push, attach, discover, copy with everything attached, pull, compare.
# Needs Go and bash and, for the first build, the network, for the Go modules. Leaves
# nothing behind but Go's caches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

work=$(mktemp -d)
registry=
finish() {
	if [ -n "$registry" ] && kill -0 "$registry" 2>/dev/null; then
		kill "$registry" && wait "$registry" || true
	fi
	rm -rf "$work"
}
trap finish EXIT

say() { printf '\n# %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "Build the command, and the tool that makes an SBOM and a signature to attach"
export PATH="$work/bin:$PATH"
run go build -o "$work/bin/" ./cmd/oras ./quickstart

say "Start a registry on a free port of this machine"
echo "$ oras serve --addr 127.0.0.1:0 --data registry"
oras serve --addr 127.0.0.1:0 --data "$work/registry" >"$work/ready" 2>"$work/log" &
registry=$!
for _ in $(seq 100); do
	[ -s "$work/ready" ] && break
	kill -0 "$registry" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
	sleep 0.1
done
cat "$work/ready"
port=$(sed -n 's|^.*http://127\.0\.0\.1:\([0-9]*\).*$|\1|p' "$work/ready")
repo=localhost:$port/quickstart/oras

say "Push the binary just built and the source of the library, as one artifact"
mkdir "$work/in" "$work/in/source"
cp "$work/bin/oras" "$work/in/oras"
cp ./*.go go.mod LICENSE "$work/in/source/"
cd "$work/in"
run oras push --artifact-type application/vnd.example.release "$repo:v1" oras:application/octet-stream source

say "Attach an SBOM of the binary (SPDX, from its own build information)"
quickstart sbom oras >sbom.spdx.json
run oras attach --artifact-type application/spdx+json "$repo:v1" sbom.spdx.json:application/spdx+json \
	--format go-template='{{.digest}}' >sbom.digest
cat sbom.digest; echo

say "Attach a signature to the SBOM"
quickstart sign sbom.spdx.json key.pub >sbom.sig.json
run oras attach --artifact-type application/vnd.example.signature "$repo@$(tail -n 1 sbom.digest)" sbom.sig.json

say "Show the graph: what refers to the artifact, and what refers to that"
run oras discover "$repo:v1"

say "Copy the artifact with its graph into an OCI image layout, a plain directory"
run oras cp -r "$repo:v1" --to-oci-layout "$work/layout:v1" --no-tty

say "Pull everything back from the layout"
mkdir "$work/out"
cd "$work/out"
run oras pull --oci-layout "$work/layout:v1"
for type in application/spdx+json application/vnd.example.signature; do
	digest=$(oras discover --oci-layout "$work/layout:v1" --format go-template='{{range .referrers}}{{println .artifactType .digest}}{{range .referrers}}{{println .artifactType .digest}}{{end}}{{end}}' |
		sed -n "s|^$type ||p")
	run oras pull --oci-layout "$work/layout@$digest"
done

say "Compare every byte, and check the signature"
cd "$work"
run cmp in/oras out/oras
run diff -r in/source out/source
run cmp in/sbom.spdx.json out/sbom.spdx.json
run quickstart verify out/sbom.spdx.json out/sbom.sig.json in/key.pub

say "Stop the registry"
kill "$registry"
wait "$registry"
registry=
files=$(find in/source -type f | wc -l)
printf '\nChecked: the binary (%d bytes), %d source files, the SBOM and its signature came back byte for byte,\nthrough a registry and an OCI image layout, and the signature is good.\n' \
	"$(wc -c <in/oras)" "$((files))"
