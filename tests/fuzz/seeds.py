"""Writes the seeds of the corpora: small valid and odd inputs of each kind. Needs Pillow. What fuzzing found is added beside them by hand."""

import io
import json
import shutil
import struct
import tarfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"


def write(kind, name, data):
    path = CORPUS / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def shard(members, **options):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue().rstrip(b"\0") + bytes(1024)


def padded(data):
    return data + bytes(-len(data) % 512 + 1024)


def tars():
    members = [("0.jpg", b"J"), ("0.txt", b"a dog"), ("0.json", b'{"url": "u"}'), ("1.png", b"P"), ("1.cls", b"3"), ("README", b"")]
    write("tar", "ustar.tar", padded(shard(members, format=tarfile.USTAR_FORMAT)[:-1024]))
    long = [("d/" * 60 + "0.jpg", b"J"), ("d/" * 60 + "0.txt", b"a")]
    write("tar", "gnu.tar", padded(shard(long, format=tarfile.GNU_FORMAT)[:-1024]))
    write("tar", "pax.tar", padded(shard([("caf\u00e9.jpg", b"J"), ("caf\u00e9.txt", b"a")], format=tarfile.PAX_FORMAT)[:-1024]))
    whole = (CORPUS / "tar/ustar.tar").read_bytes()
    for name, at, data in [("flipped", 1029, b"\xff"), ("zeroed", 1024, bytes(512)), ("negative", 124, b"\xff" * 12), ("huge", 124, b"\x80\0\0\0\x7f" + bytes(7))]:
        write("tar", f"{name}.tar", whole[:at] + data + whole[at + len(data) :])
    write("tar", "cut_padding.tar", whole[: whole.index(b"1.cls") + 512 + 1])
    write("tar", "cut.tar", whole[:1030] + whole[1530:])
    write("tar_index", "member", bytes([1 - 1 + 0, 0, 5]) + b"0.jpg" + bytes([0x80, 4, 1]))
    write("tar_index", "damage", bytes([1, 9, 2, 3]) + b"why" + bytes([2, 1, 1]) + b"l")
    write("tar_index", "members", bytes([9, 0, 0, 5]) + b"0.jpg\x80\x04\x01")


def images():
    picture = Image.linear_gradient("L").resize((9, 7)).convert("RGB")
    cases = [("rgb.jpg", picture, "JPEG", {}), ("progressive.jpg", picture, "JPEG", {"progressive": True}), ("cmyk.jpg", picture.convert("CMYK"), "JPEG", {})]
    cases += [("rgb.png", picture, "PNG", {}), ("palette.png", picture.convert("P"), "PNG", {"transparency": 3}), ("grey16.png", picture.convert("I;16"), "PNG", {})]
    cases += [("bilevel.png", picture.convert("1"), "PNG", {}), ("lossy.webp", picture, "WEBP", {}), ("lossless.webp", picture, "WEBP", {"lossless": True})]
    cases += [("two.gif", picture, "GIF", {"save_all": True, "append_images": [picture.rotate(90)]}), ("rgb.bmp", picture, "BMP", {})]
    cases += [("rgb.tif", picture, "TIFF", {}), ("lzw.tif", picture.convert("P"), "TIFF", {"compression": "tiff_lzw"})]
    for name, image, kind, options in cases:
        out = io.BytesIO()
        image.save(out, kind, **options)
        write("image", name, out.getvalue())


def texts():
    tables = ["filepath,title,label\n/a.jpg,a dog,1\n", "\ufefffilepath\ttitle\r\n/a.jpg\t\"two\nlines\"\r\n", "filepath,title\n\"/a.jpg,never closed\n/b.jpg,x\n", "filepath,title\n/a.jpg\n/b.jpg,a,b\n,\n", "title\n"]
    for number, table in enumerate(tables):
        write("csv", f"{number}.csv", table.encode())
    captions = ["a photo of a dog", "<|endoftext|> &amp;amp; caf\u00e9 \U0001f600\u200d\U0001f469", "x" * 3000, '{"caption": ["one", "two"], "n": NaN}', "[" * 200, '{"caption": {"a": [1, 2.5e300, null]}}', "\u00c3\u00a9t\u00c3\u00a9 \x00\x01"]
    for number, caption in enumerate(captions):
        write("caption", f"{number}.txt", caption.encode())


def weights():
    def file(header, data=b""):
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    write("safetensors", "two", file({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "b": {"dtype": "BF16", "shape": [2, 1], "data_offsets": [4, 8]}}, bytes(8)))
    write("safetensors", "empty", file({}))
    write("safetensors", "overlap", file({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}, "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}, bytes(3)))
    write("safetensors", "beyond", file({"a": {"dtype": "I64", "shape": [1 << 62, 4], "data_offsets": [0, 8]}}, bytes(8)))
    golden = HERE.parent / "golden/weights"
    shutil.copy(golden / "types.safetensors", CORPUS / "safetensors/types")
    (CORPUS / "pt").mkdir(parents=True, exist_ok=True)
    for name in ["deflated.pt", "protocol4.pt", "views.pt", "types.pt", "scripted.pt"]:
        shutil.copy(golden / name, CORPUS / "pt" / name)


tars()
images()
texts()
weights()
