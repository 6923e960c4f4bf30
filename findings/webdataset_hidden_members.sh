#!/usr/bin/env bash
# webdataset skips hidden members at the top of a shard, and takes those in a folder for samples that cut others in two.
#
# Guess:    a member whose file name begins with a dot, such as the `._0.jpg` that macOS's tar puts before `0.jpg`, is treated alike wherever it is:
#           skipped, or a sample of its own.
# Seen:     `._0.jpg` has no key and is skipped. `train/._0.jpg` has the key `train/` and the suffix `_0.jpg`: the pattern's key may begin with a slash,
#           so it takes the folder for a name. The samples around it end there: `train/0.jpg` and `train/0.txt`, with `train/._0.txt` between them,
#           become two samples, one without a caption and one without a picture, and a filter for both leaves nothing. No error, no warning.
# Versions: webdataset 1.0.2 and 0.2.86, which open_clip requires.
# Hurts:    shards packed on a Mac (`tar cf 0.tar train`), and whatever else writes hidden files beside pictures.
# VL Hub:   a member whose file name begins with a dot belongs to no sample, at the top and in folders; `data check` counts them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet webdataset==1.0.2 numpy==2.4.6 || exit 2
"$work/venv/bin/pip" install --quiet --no-deps --target "$work/old" webdataset==0.2.86 || exit 2
cat > "$work/run.py" <<'PY'
import io
import sys
import tarfile

import webdataset

seen = {}
for folder in ["", "train/"]:
    with tarfile.open("shard.tar", "w") as archive:
        for name in ["._0.jpg", "0.jpg", "._0.txt", "0.txt", "._1.jpg", "1.jpg", "._1.txt", "1.txt"]:
            member = tarfile.TarInfo(folder + name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"data"))
    samples = list(webdataset.WebDataset("shard.tar", shardshuffle=False))
    whole = [sample["__key__"] for sample in samples if "jpg" in sample and "txt" in sample]
    seen[folder] = (whole, [sample["__key__"] for sample in samples])
    print(f"folder `{folder}`: whole samples {whole}, all samples {seen[folder][1]}")
cut = ["train/", "train/0", "train/", "train/0", "train/", "train/1", "train/", "train/1"]
sys.exit(0 if seen == {"": (["0", "1"], ["0", "1"]), "train/": ([], cut)} else 1)
PY
cd "$work"
status=0
for path in "" "$work/old"; do
  PYTHONPATH=$path venv/bin/python -c 'import importlib.metadata as m; print("webdataset", m.version("webdataset"))'
  PYTHONPATH=$path venv/bin/python run.py || status=1
done
exit $status
