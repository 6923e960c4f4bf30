"""Files that VL Hub writes for PyTorch: what torch.load(weights_only=True) and open_clip's own loader make of them."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from open_clip.factory import load_checkpoint
from open_clip.model import CLIP
from safetensors.torch import save_file

VLHUB = os.environ["VLHUB_BIN"]
VISION = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 2, "head_width": 8, "mlp_ratio": 2.0}
TEXT = {"context_length": 8, "vocab_size": 32, "width": 16, "heads": 2, "layers": 2, "mlp_ratio": 2.0}
TYPES = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
checks = []


def check(name, passed):
    checks.append(passed)
    print(f"{'ok    ' if passed else 'FAILED'} {name}")


def convert(source, target):
    done = subprocess.run([VLHUB, "models", "convert", str(source), str(target)], cwd=target.parent, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"vlhub models convert ended with {done.returncode}\n{done.stdout}\n{done.stderr}")


def same(left, right):
    return left.keys() == right.keys() and all(left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = CLIP(8, VISION, TEXT)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "attn_mask"}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        save_file(state, folder / "model.safetensors")
        torch.save({"epoch": 1, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, folder / "trainer.pt")
        torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
        for source in ["model.safetensors", "trainer.pt", "legacy.pth"]:
            written = folder / "written.pt"
            convert(folder / source, written)
            check(f"{source}: torch.load(weights_only=True) reads what was written", same(torch.load(written, weights_only=True), state))
            check(f"{source}: and mapped", same(torch.load(written, weights_only=True, mmap=True), state))
            other = CLIP(8, VISION, TEXT)
            load_checkpoint(other, str(written), weights_only=True)
            check(f"{source}: open_clip's load_checkpoint takes it", all(torch.equal(other.state_dict()[name], state[name]) for name in state))
        kinds = {str(kind): torch.arange(6).reshape(2, 3).to(kind) for kind in TYPES} | {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}
        save_file(kinds, folder / "kinds.safetensors")
        convert(folder / "kinds.safetensors", folder / "kinds.bin")
        check("every type, a scalar and an empty tensor", same(torch.load(folder / "kinds.bin", weights_only=True), kinds))
        check("the archive has its marks", torch._C.PyTorchFileReader(str(folder / "kinds.bin")).has_record("byteorder"))
    sys.exit(0 if all(checks) else 1)


if __name__ == "__main__":
    main()
