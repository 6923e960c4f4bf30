#!/bin/sh
# Gets two drawings of every emoji and writes them as shards: data/google and data/twitter, one picture, one caption and one class each.
# Needs npm (with node), tar and vlhub. Takes 130 MB of downloads, which are kept in data/download, and a minute.
#
#   ./prepare.sh            writes into data/ beside this script
#   ./prepare.sh FOLDER     writes into FOLDER
#   VLHUB=../../target/release/vlhub ./prepare.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/data}
vlhub=${VLHUB:-vlhub}
version=16.0.0

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

for program in npm node tar "$vlhub"; do
    if ! command -v "$program" >/dev/null; then
        echo "error: $program is needed and was not found" >&2
        exit 1
    fi
done
mkdir -p "$out/download"
out=$(cd "$out" && pwd)

# Name, SHA-256 of the package.
while read -r style sum; do
    package=emoji-datasource-$style-$version.tgz
    if [ ! -f "$out/download/$package" ]; then
        echo "getting $package"
        (cd "$out/download" && npm pack --silent "emoji-datasource-$style@$version" >/dev/null)
    fi
    found=$(sha256 "$out/download/$package")
    if [ "$found" != "$sum" ]; then
        echo "error: $out/download/$package is not the package this example was made for (SHA-256 $found); delete it and try again" >&2
        exit 1
    fi
    mkdir -p "$out/png/$style"
    tar -xzf "$out/download/$package" -C "$out/png/$style" --strip-components=1 package/emoji.json "package/img/$style/64"
done <<'PACKAGES'
google fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438
twitter f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877
PACKAGES

node "$here/table.js" "$out"

for style in google twitter; do
    # The drawings are transparent, with chance colours where nothing is drawn.
    rm -rf "${out:?}/$style"
    "$vlhub" data pack "$out/$style.tsv" --out "$out/$style" --label-key label --classes "$out/classnames.txt" --background white
done
