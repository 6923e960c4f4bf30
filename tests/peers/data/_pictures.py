"""Picture files through open_clip's evaluation transform and through VL Hub's, compared by what one ViT-S-32 with random weights makes of them.

Other pixels show: one level in a hundredth of the bytes moves an embedding by about 1e-5, equal ones agree to rounding.
"""

import os
import subprocess
import sys

import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

VLHUB = os.environ["VLHUB_BIN"]
MODEL, BOUND = "ViT-S-32", 2e-6


def apart(folder, names):
    """For each file of a folder the distance of the two embeddings, which have unit length."""
    torch.manual_seed(0)
    model = open_clip.create_model(MODEL).eval()
    transform = open_clip.image_transform(224, is_train=False)
    with torch.no_grad():
        # Converted first, as an image folder or WebDataset do: open_clip resizes CMYK and grey in their own mode otherwise.
        images = torch.stack([transform(Image.open(folder / name).convert("RGB")) for name in names])
        wanted = torch.cat([model.encode_image(part, normalize=True) for part in images.split(32)])
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "attn_mask"}, folder / "model.safetensors")
    embed = [VLHUB, "embed", "--model", MODEL, "--checkpoint", "model.safetensors", "--out", "out.safetensors", "--images", *names]
    done = subprocess.run(embed, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"vlhub embed ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return (load_file(folder / "out.safetensors")["image"] - wanted).norm(dim=1)
