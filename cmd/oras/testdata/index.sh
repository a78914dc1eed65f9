# index.sh NAME:TAG [flags]: pushes an index of two images, for linux/amd64 with the
# file bar and for linux/arm64 with the file foo1, and leaves it in index.json.
set -e
target=$1
shift
image() {
  oras push "$@" --artifact-platform linux/$arch -a org.opencontainers.image.created=2023-01-18T08:37:42Z \
    --format go-template='{"mediaType":"{{.mediaType}}","digest":"{{.digest}}","size":{{.size}},"platform":{"architecture":"'$arch'","os":"linux"}}'
}
cd foobar
amd64=$(arch=amd64; image "$@" ${target%:*} bar)
arm64=$(arch=arm64; image "$@" ${target%:*} foo1)
cd ..
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s,%s]}' "$amd64" "$arm64" > index.json
oras manifest push "$@" $target index.json > /dev/null
