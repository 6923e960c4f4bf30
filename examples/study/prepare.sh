#!/bin/sh
# Gets the pictures of the study: emoji (../emoji/prepare.sh) and the Open Clip Art Library of Debian, public domain, 8,121 drawings with titles and
# keywords. Needs npm (with node), tar, ar (binutils), apt-get for the download, and vlhub. 290 MB of downloads, some minutes.
#
#   ./prepare.sh
#   VLHUB=../../target/release/vlhub ./prepare.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
vlhub=${VLHUB:-vlhub}
case $vlhub in */*) vlhub=$(cd "$(dirname "$vlhub")" && pwd)/$(basename "$vlhub") ;; esac
out=$here/data

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

if [ ! -d "$here/../emoji/data/twitter" ]; then
    VLHUB=$vlhub "$here/../emoji/prepare.sh"
fi
mkdir -p "$out/download"
# Package, SHA-256 of its file.
while read -r package sum; do
    file=$out/download/$package.deb
    if [ ! -f "$file" ]; then
        echo "getting $package"
        (cd "$out/download" && apt-get download -qq "$package=1:0.18+dfsg-19" && mv "$package"_*.deb "$package.deb")
    fi
    found=$(sha256 "$file")
    if [ "$found" != "$sum" ]; then
        echo "error: $file is not the package this study was made for (SHA-256 $found); delete it and try again" >&2
        exit 1
    fi
    (cd "$out" && ar p "$file" data.tar.xz | tar -xJf - --strip-components=3 ./usr/share/openclipart)
done <<'PACKAGES'
openclipart-png f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02
openclipart-svg 989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5
PACKAGES

node "$here/clipart.js" "$out"
for part in train test; do
    rm -rf "${out:?}/$part"
    "$vlhub" data pack "$out/$part.tsv" --out "$out/$part" --label-key label --classes "$out/classnames.txt" --background white --resize 80
done
