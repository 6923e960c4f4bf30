"""Checkpoints there and back: what `vlhub train` writes gives the same embeddings in open_clip, and what open_clip's trainer writes goes on here.

The model is a config of the user's own, in open_clip's format, which both sides find in a folder. One has the towers at the top and one has the
text tower below `text.` (open_clip's `custom_text`), with preprocessing that is not the default.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import open_clip
import torch
from open_clip.loss import ClipLoss
from PIL import Image
from safetensors.torch import load_file

VLHUB = os.environ["VLHUB_BIN"]
CAPTIONS = ["a red circle", "two blue squares", "a photo of a dog.", "caf\u00e9 de flore", "x", "an emoji of a smiling face", "green", "a large yellow star"]
VISION = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 16}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2}
MODELS = {
    "tiny": {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT},
    "tiny_custom": {
        "embed_dim": 32, "custom_text": True, "quick_gelu": True,
        "vision_cfg": VISION | {"pool_type": "avg", "final_ln_after_pool": True, "attentional_pool": False, "no_ln_pre": True},
        "text_cfg": TEXT | {"pool_type": "last", "no_causal_mask": True, "proj_bias": True},
    },
}
checks = []


def check(name, error, bound):
    checks.append(error <= bound)
    print(f"{'ok    ' if error <= bound else 'FAILED'} {name}: {error:.2e} (bound {bound:.0e})")


def call(*command, cwd):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


def theirs(model, preprocess, pictures, name):
    tokenize = open_clip.get_tokenizer(name)
    with torch.no_grad():
        model.eval()
        images = model.encode_image(torch.stack([preprocess(Image.open(path)) for path in pictures]), normalize=True)
        return images, model.encode_text(tokenize(CAPTIONS), normalize=True)


def ours(name, source, pictures, folder):
    call(VLHUB, "embed", "--model", name, "--model-configs", folder / "configs", "--checkpoint", source, "--images", *pictures,
         "--texts", "texts.txt", "--out", "ours.safetensors", cwd=folder)
    out = load_file(folder / "ours.safetensors")
    return out["image"], out["text"]


def same(label, left, right):
    for what, a, b in zip(("images", "texts"), left, right):
        check(f"{label}, {what}", relative(a, b), 1e-4)


def from_here(name, folder, pictures):
    """Train here; every file that comes of it is read by open_clip."""
    (folder / "run.toml").write_text(f"""
        model = "{name}"
        model_configs = ["configs"]
        name = "here_{name}"
        [preprocess]
        resize_mode = "squash"
        interpolation = "bilinear"
        mean = [0.5, 0.5, 0.5]
        std = [0.5, 0.5, 0.5]
        [data.train]
        use = "csv"
        path = "train.tsv"
        [objective.clip]
        [train]
        batch = 4
        steps = 5
        torch_threads = 2
        [optimizer]
        lr = 1e-3
        [schedule]
        use = "constant"
    """)
    call(VLHUB, "train", "run.toml", cwd=folder)
    run = f"logs/here_{name}"
    reference = None
    for target in (f"{name}.safetensors", f"{name}.pt", f"{name}_folder"):
        call(VLHUB, "models", "convert", run, target, cwd=folder)
        if target.endswith("_folder"):
            model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder / target}")
            model = model.float()
            options = open_clip.get_model_preprocess_cfg(model)
            kept = (options["resize_mode"], options["interpolation"], tuple(options["mean"])) == ("squash", "bilinear", (0.5, 0.5, 0.5))
            check("the folder says how pictures are prepared", 0.0 if kept else 1.0, 0.0)
        else:
            options = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "image_interpolation": "bilinear", "image_resize_mode": "squash"}
            model, preprocess = open_clip.create_model_from_pretrained(name, pretrained=str(folder / target), **options)
        found = theirs(model, preprocess, pictures, f"local-dir:{folder / target}" if target.endswith("_folder") else name)
        if reference is None:
            # The run file's words on pictures hold for the run; `embed` is told the same.
            words = ["preprocess.resize_mode=squash", "preprocess.interpolation=bilinear", "preprocess.mean=[0.5,0.5,0.5]", "preprocess.std=[0.5,0.5,0.5]"]
            call(VLHUB, "embed", *words, "--model", name, "--model-configs", "configs", "--checkpoint", run, "--images", *pictures,
                 "--texts", "texts.txt", "--out", "ours.safetensors", cwd=folder)
            out = load_file(folder / "ours.safetensors")
            reference = out["image"], out["text"]
        same(f"{name}: vlhub train -> {target.removeprefix(name)} -> open_clip", found, reference)


def from_there(name, folder, pictures):
    """open_clip's own trainer writes a checkpoint; here it is embedded with, and trained on."""
    launch = f"import open_clip; open_clip.add_model_config({str(folder / 'configs')!r}); from open_clip_train.main import main; import sys; main(sys.argv[1:])"
    call(sys.executable, "-c", launch, "--model", name, "--train-data", "train.tsv", "--dataset-type", "csv", "--csv-separator", "\t", "--batch-size", 4,
         "--epochs", 1, "--workers", 0, "--precision", "fp32", "--device", "cpu", "--warmup", 1, "--lr", "1e-3", "--name", f"there_{name}", cwd=folder)
    checkpoint = folder / f"logs/there_{name}/checkpoints/epoch_1.pt"
    model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=str(checkpoint))
    same(f"{name}: open_clip_train -> vlhub embed", ours(name, checkpoint, pictures, folder), theirs(model, preprocess, pictures, name))
    (folder / "fine.toml").write_text(f"""
        model = "{name}"
        model_configs = ["configs"]
        pretrained = "{checkpoint}"
        name = "fine_{name}"
        [data.train]
        use = "csv"
        path = "train.tsv"
        [objective.clip]
        [train]
        batch = {len(CAPTIONS)}
        steps = 3
        log_every = 1
        torch_threads = 2
        [optimizer]
        lr = 1e-3
        [schedule]
        use = "constant"
    """)
    call(VLHUB, "train", "fine.toml", cwd=folder)
    losses = [json.loads(line)["loss"] for line in (folder / f"logs/fine_{name}/metrics.jsonl").read_text().splitlines() if '"loss"' in line]
    # The batch is the whole set, in some order, which the loss does not depend on.
    image, text = theirs(model, preprocess, sorted((folder / "pictures").iterdir()), name)
    with torch.no_grad():
        wanted = ClipLoss()(image, text, model.logit_scale.exp()).item()
    check(f"{name}: the fine-tune starts at the loss that open_clip has", abs(losses[0] - wanted) / wanted, 1e-5)
    check(f"{name}: and gets better from there (last loss over first)", losses[-1] / losses[0], 1.0)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "configs").mkdir()
        (folder / "pictures").mkdir()
        for name, config in MODELS.items():
            (folder / f"configs/{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / "configs")
        random = numpy.random.default_rng(0)
        rows = ["filepath\ttitle"]
        for index, caption in enumerate(CAPTIONS):
            Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=numpy.uint8)).save(folder / f"pictures/{index}.png")
            rows.append(f"pictures/{index}.png\t{caption}")
        others = [folder / f"other_{index}.png" for index in range(3)]
        for index, path in enumerate(others):
            Image.fromarray(random.integers(0, 256, (9, 13, 3), dtype=numpy.uint8)).resize((60 + 20 * index, 50)).save(path)
        (folder / "train.tsv").write_text("\n".join(rows) + "\n")
        (folder / "texts.txt").write_text("\n".join(CAPTIONS) + "\n")
        for name in MODELS:
            from_here(name, folder, others)
            from_there(name, folder, others)
    print(f"{sum(checks)} passed, {len(checks) - sum(checks)} failed")
    sys.exit(not all(checks))


main()
