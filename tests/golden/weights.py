"""Writes weights/ and weights.json: small weight files of every format that torch, safetensors and open_clip write, and what they hold.

Run with a Python that has torch, open_clip_torch and safetensors: `python tests/golden/weights.py`. Of each tensor weights.json has the type,
the shape, the sum, and the sum of each number times its place modulo 17 plus 1, so that numbers in another order show.
"""

import argparse
import json
import pathlib
import shutil
import zipfile

import numpy
import open_clip
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).with_suffix("")
TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
cases = {}


def told(tensor):
    # Masks hold minus infinity.
    flat = torch.nan_to_num(tensor.detach().double().reshape(-1), neginf=-1000)
    places = torch.arange(flat.numel()) % 17 + 1
    return [str(tensor.dtype).removeprefix("torch."), list(tensor.shape), flat.sum().item(), (flat * places).sum().item()]


def case(path, format, tensors, **extras):
    cases[path] = {"format": format, "tensors": {name: told(tensor) for name, tensor in tensors.items()}, **extras}


def of_every_type():
    numbers = torch.arange(12).reshape(3, 4) * 0.75 - 4
    tensors = {str(dtype).removeprefix("torch."): (numbers > 0 if dtype == torch.bool else numbers.abs()).to(dtype) for dtype in TYPES}
    return tensors | {"scalar": torch.tensor(2.659), "empty": torch.zeros(0, 4), "parameter": torch.nn.Parameter(torch.ones(2, 2) * 0.5)}


def views():
    base = torch.arange(60, dtype=torch.float32).reshape(5, 12) / 8
    return {
        "base": base,
        "tied": base,
        "row": base[3],
        "transposed": base.T,
        "strided": base[1::2, ::5],
        "permuted": base.reshape(5, 3, 4).permute(2, 0, 1),
        "expanded": base[0, :4].expand(3, 4),
        "wide": torch.tensor([0.5]).expand(3, 4),
        "alone": torch.full((3,), -1.5),
    }


def torch_files():
    torch.save(of_every_type(), FOLDER / "types.pt")
    case("types.pt", "PyTorch", of_every_type(), part=None)
    with zipfile.ZipFile(FOLDER / "types.pt") as source, zipfile.ZipFile(FOLDER / "deflated.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            packed.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED)
    case("deflated.pt", "PyTorch", of_every_type(), part=None)
    torch.serialization.set_crc32_options(False)
    torch.save(views(), FOLDER / "views.pt")
    torch.serialization.set_crc32_options(True)
    case("views.pt", "PyTorch", views(), part=None)
    legacy = {f"module.{name}": tensor for name, tensor in (of_every_type() | views()).items()}
    torch.save({"model_state_dict": legacy, "epoch": 7}, FOLDER / "legacy.pth.tar", _use_new_zipfile_serialization=False)
    case("legacy.pth.tar", "LegacyPyTorch", of_every_type() | views(), part="model_state_dict", epoch=7)
    torch.save(views(), FOLDER / "protocol4.pt", pickle_protocol=4)
    case("protocol4.pt", "PyTorch", views(), part=None)
    beside = {"args": argparse.Namespace(lr=1e-3, out=pathlib.PurePosixPath("a")), "best": numpy.float64(0.5), "amp": True, "seen": {1, 2}}
    plain = {"weight": torch.ones(2, 3), "_extra": None}
    torch.save({"model": plain, "state_dict_ema": {"weight": torch.zeros(2, 3)}, **beside}, FOLDER / "ema.bin")
    case("ema.bin", "PyTorch", {"weight": plain["weight"]}, part="model", others=["state_dict_ema"], skipped=["_extra"], metadata={"amp": "true"})


def trainer():
    """As open_clip_train.main writes it: under data-parallel names, with optimiser and scaler."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2, bias=False))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(5, 6)).square().sum().backward()
        optimizer.step()
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000, "_growth_tracker": 2}
    checkpoint = {"epoch": 3, "name": "2026_11_24-model_tiny", "state_dict": state, "optimizer": optimizer.state_dict(), "scaler": scaler}
    torch.save(checkpoint, FOLDER / "trainer.pt")
    about = {"epoch": 3, "name": checkpoint["name"], "optimizer": True, "scaler": True}
    case("trainer.pt", "PyTorch", model.state_dict(), part="state_dict", **about)


def torchscript():
    """A CLIP as OpenAI published it: traced, half precision, its sizes as buffers."""
    torch.manual_seed(0)
    vision = {"image_size": 8, "patch_size": 4, "width": 8, "layers": 1, "head_width": 8, "mlp_ratio": 1.0}
    text = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1, "mlp_ratio": 1.0}
    model = CLIP(4, vision, text).eval()
    for name, number in [("input_resolution", 8), ("context_length", 4), ("vocab_size", 8)]:
        if hasattr(model, name):
            delattr(model, name)
        model.register_buffer(name, torch.tensor(number))
    images, ids = torch.zeros(1, 3, 8, 8), torch.tensor([[1, 2, 7, 0]])
    traced = torch.jit.trace_module(model, {"forward": (images, ids)}, check_trace=False)
    traced.visual.half()
    whole = FOLDER / "whole.pt"
    traced.save(str(whole))
    # Most of the code is left out to keep the file small: nobody reads it.
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(FOLDER / "traced.pt", "w") as small:
        for name in source.namelist():
            if "/code/" not in name or name.endswith("/model.py"):
                small.writestr(zipfile.ZipInfo(name), source.read(name))
    whole.unlink()
    drop = {"input_resolution", "context_length", "vocab_size"}
    case("traced.pt", "TorchScript", {name: tensor for name, tensor in traced.state_dict().items() if name not in drop})

    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(2, 3), torch.nn.Linear(3, 2)])
            self.register_buffer("scale", torch.tensor([1.5, 2.5], dtype=torch.bfloat16))
            self.sizes, self.names, self.flag = [1, 2], {"a": 1.5}, True

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x * self.scale

    scripted = torch.jit.script(Small())
    scripted.save(str(FOLDER / "scripted.pt"))
    case("scripted.pt", "TorchScript", scripted.state_dict())


def shards():
    tensors = {f"layers.{at}.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) + at for at in range(3)} | {"half": torch.ones(3).half()}
    names = list(tensors)
    for folder, name, end, save in [("safetensors", "model", "safetensors", save_file), ("bin", "pytorch_model", "bin", torch.save)]:
        place = FOLDER / f"sharded_{folder}"
        place.mkdir()
        places = {tensor: f"{name}-0000{1 + (at > 1)}-of-00002.{end}" for at, tensor in enumerate(names)}
        for file in sorted(set(places.values())):
            save({tensor: tensors[tensor] for tensor in names if places[tensor] == file}, place / file)
        index = {"metadata": {"total_size": 78}, "weight_map": places}
        (place / f"{name}.{end}.index.json").write_text(json.dumps(index, indent=2) + "\n")
        format = "ShardedSafetensors" if folder == "safetensors" else "ShardedPyTorch"
        case(f"sharded_{folder}", format, tensors)
        case(f"sharded_{folder}/{name}.{end}.index.json", format, tensors)
    single = of_every_type()
    single["parameter"] = single["parameter"].detach()
    save_file(single, FOLDER / "types.safetensors", metadata={"format": "pt", "maker": "tests"})
    case("types.safetensors", "Safetensors", single, metadata={"format": "pt", "maker": "tests"})


def main():
    torch.set_num_threads(1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    torch_files()
    trainer()
    torchscript()
    shards()
    for file in FOLDER.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
        assert file.stat().st_size < 20_000, (file, file.stat().st_size)
    about = f"torch {torch.__version__.split('+')[0]}, open_clip {open_clip.__version__}"
    rows = ",\n".join(f"{json.dumps(path)}: {json.dumps(found)}" for path, found in cases.items())
    FOLDER.with_suffix(".json").write_text(f'{{\n"made_with": {json.dumps(about)},\n"cases": {{\n{rows}\n}}\n}}\n')


if __name__ == "__main__":
    main()
