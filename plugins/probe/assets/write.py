"""Writes imagenet_in_larger.txt beside itself: python write.py TIMM, the folder of the unpacked wheel timm 1.0.31. README.md tells what it is."""

import sys
from pathlib import Path

info = Path(sys.argv[1]) / "timm/data/_info"
wnids = (info / "imagenet_synsets.txt").read_text().split()
lines = []
for name, file in [
    ("ImageNet-22k (fall 2011, 21,841 classes)", "imagenet22k_synsets"),
    ("ImageNet-22k (Microsoft's order, 21,842 classes)", "imagenet22k_ms_synsets"),
    ("ImageNet-21k (Google's, 21,843 classes)", "imagenet21k_goog_synsets"),
    ("ImageNet-12k (timm's, 11,821 classes)", "imagenet12k_synsets"),
    ("ImageNet-21k-P (MIIL's fall 2011, 11,221 classes)", "imagenet21k_miil_synsets"),
    ("ImageNet-21k-P (MIIL's winter 2021, 10,450 classes)", "imagenet21k_miil_w21_synsets"),
]:
    places = {wnid: place for place, wnid in enumerate((info / f"{file}.txt").read_text().split())}
    columns = " ".join(str(places.get(wnid, "-")) for wnid in wnids)
    lines.append(f"{name}\t{len(places)}\t{columns}\n")
(Path(__file__).parent / "imagenet_in_larger.txt").write_text("".join(lines))
