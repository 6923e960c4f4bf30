"""Writes small MATLAB files beside itself, with scipy 1.17: the kinds of arrays, and the files of Stanford Cars and Flowers-102 with few pictures."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

HERE = Path(__file__).parent


def rows(fields, *values):
    out = np.empty((1, len(values)), dtype=[(field, object) for field in fields])
    for at, value in enumerate(values):
        out[0, at] = value
    return out


kinds = {
    "doubles": np.array([[1.5, 3.0], [-2.0, 4.0]]),
    "bytes": np.array([1, 2, 255], np.uint8),
    "shorts": np.array([1, 65535], np.uint16),
    "longs": np.array([[-7]], np.int64),
    "singles": np.array([[0.5]], np.float32),
    "names": np.array(["AM General Hummer SUV 2000", "Citroën", ""], object),
    "word": "hello",
    "rows": rows(["bbox_x1", "class", "fname"], (30, 181, "00001.jpg"), (100, 103, "00002.jpg")),
    "complex": np.array([1 + 2j]),
}
savemat(HERE / "kinds.mat", kinds)
savemat(HERE / "kinds_compressed.mat", kinds, do_compression=True)

boxes = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
savemat(HERE / "cars_meta.mat", {"class_names": np.array(["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Acura TL Sedan 2012"], object)}, do_compression=True)
annotations = rows(boxes, (30, 52, 246, 147, 3, "00001.jpg"), (100, 19, 576, 203, 1, "00002.jpg"), (5, 5, 9, 9, 4, "00003.jpg"))
savemat(HERE / "cars_annos.mat", {"annotations": annotations}, do_compression=True)

savemat(HERE / "imagelabels.mat", {"labels": np.array([[77, 1, 102, 1]], np.uint8)}, do_compression=True)
splits = {"trnid": np.array([[2]], np.uint16), "valid": np.array([[1]], np.uint16), "tstid": np.array([[4, 3, 5]], np.uint16)}
savemat(HERE / "setid.mat", splits, do_compression=True)
