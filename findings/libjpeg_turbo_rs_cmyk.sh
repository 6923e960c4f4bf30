#!/usr/bin/env bash
# A Rust decoder that is libjpeg-turbo's equal to the bit gives other inks for CMYK pictures at half size, without an error.
#
# Guess:    libjpeg-turbo-rs, which is compared with the C library byte for byte by its own tests, decodes what Pillow writes as Pillow reads it.
# Seen:     so it does for grey, YCbCr of every sampling and CMYK at full size. Of `Image.save("x.jpg", subsampling="4:2:2")` of a CMYK picture it
#           takes the black plane, which is at half size too, for one at full size: every black byte is another, and no error says so. (Of YCCK,
#           as programs for printing write it, only the colours are at half size; that is read well.)
# Versions: libjpeg-turbo-rs 0.8.0, Pillow 12.3.0 with libjpeg-turbo 3.1.4.1.
# Hurts:    whoever takes it for a drop-in decoder and has CMYK pictures that went through Pillow or ImageMagick with a sampling option.
# VL Hub:   leaves such files to another decoder, a few levels apart (`host/src/data/decode/jpeg.rs`).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet pillow==12.3.0 || exit 2
mkdir -p "$work/src" && cd "$work"
cat > Cargo.toml <<'TOML'
[package]
name = "decode"
version = "0.0.0"
edition = "2021"
[dependencies]
libjpeg-turbo-rs = "=0.8.0"
[workspace]
TOML
cat > src/main.rs <<'RUST'
use libjpeg_turbo_rs::{decompress_to, PixelFormat};

fn main() {
    for name in std::env::args().skip(1) {
        let bytes = std::fs::read(&name).expect("it was written");
        let image = decompress_to(&bytes, PixelFormat::Cmyk).expect("it is a JPEG");
        std::fs::write(name + ".cmyk", image.data).expect("there is room");
    }
}
RUST
venv/bin/python - <<'PY'
from PIL import Image

picture = Image.merge("CMYK", [Image.linear_gradient("L").resize((8, 8)).rotate(90 * turn) for turn in range(4)])
for sampling in ("4:4:4", "4:2:2"):
    picture.save(f"{sampling[2:].replace(':', '')}.jpg", quality=90, subsampling=sampling)
PY
cargo build --quiet --release || exit 2
target/release/decode 44.jpg 22.jpg
venv/bin/python - <<'PY'
import sys

from PIL import Image

shares = []
for name, sampling in (("44", "4:4:4"), ("22", "4:2:2")):
    # JPEG has inks inverted; Pillow turns them.
    theirs = [255 - value for value in Image.open(f"{name}.jpg").tobytes()]
    ours = open(f"{name}.jpg.cmyk", "rb").read()
    other = sum(a != b for a, b in zip(theirs, ours))
    most = max(abs(a - b) for a, b in zip(theirs, ours))
    print(f"CMYK {sampling}: {other} of {len(theirs)} bytes are others, by up to {most} levels")
    shares.append(other / len(theirs))
sys.exit(0 if shares[0] == 0 and shares[1] > 0.1 else 1)
PY
