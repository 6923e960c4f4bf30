"""A ViT-B-32 of open_clip against VL Hub: embeddings, loss, gradients, and weights after 3 AdamW steps, through the command line.

The run's checkpoint after one step holds (1 - beta1) times the gradient as first moment, so gradients are compared without a special command.
"""

import json
import math
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
from safetensors.torch import load_file, save_file

VLHUB = os.environ["VLHUB_BIN"]
MODEL, ROWS, LR = "ViT-B-32", 6, 1e-5
CAPTIONS = ["a red circle", "two blue squares on a plain background", "a photo of a dog.", "caf\u00e9 de flore, paris", "x", "an emoji of a smiling face"]
checks = []


def check(name, error, bound):
    checks.append(error <= bound)
    print(f"{'ok    ' if error <= bound else 'FAILED'} {name}: {error:.2e} (bound {bound:.0e})")


def relative(a, b):
    return ((a - b).norm() / b.norm().clamp_min(1e-12)).item()


def vlhub(*arguments, cwd):
    done = subprocess.run([VLHUB, *arguments], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"vlhub {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main():
    torch.manual_seed(0)
    torch.set_num_threads(2)
    model, _, preprocess = open_clip.create_model_and_transforms(MODEL)
    tokenize = open_clip.get_tokenizer(MODEL)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "attn_mask"}, folder / "open_clip.safetensors")
        random = numpy.random.default_rng(0)
        pictures = folder / "pictures"
        pictures.mkdir()
        rows = ["filepath\ttitle"]
        for index, caption in enumerate(CAPTIONS):
            # Of the model's own size for training; of another size for embedding, so that preprocessing is compared too.
            Image.fromarray(random.integers(0, 256, (224, 224, 3), dtype=numpy.uint8)).save(pictures / f"{index}.png")
            smooth = Image.fromarray(random.integers(0, 256, (9, 13, 3), dtype=numpy.uint8)).resize((300 + 20 * index, 260))
            smooth.save(folder / f"other_{index}.png")
            rows.append(f"pictures/{index}.png\t{caption}")
        (folder / "train.tsv").write_text("\n".join(rows) + "\n")
        (folder / "texts.txt").write_text("\n".join(CAPTIONS) + "\n")

        # Embeddings, of pictures that must be resized and cropped.
        others = [folder / f"other_{index}.png" for index in range(ROWS)]
        vlhub("embed", "--model", MODEL, "--checkpoint", "open_clip.safetensors", "--images", *map(str, others), "--texts", "texts.txt", "--out", "ours.safetensors", cwd=folder)
        ours = load_file(folder / "ours.safetensors")
        model.eval()
        with torch.no_grad():
            image = model.encode_image(torch.stack([preprocess(Image.open(path)) for path in others]), normalize=True)
            text = model.encode_text(tokenize(CAPTIONS), normalize=True)
        check("image embeddings", (ours["image"] - image).abs().max().item(), 1e-4)
        check("text embeddings", (ours["text"] - text).abs().max().item(), 1e-4)
        check("logit scale", abs(ours["logit_scale"].item() - model.logit_scale.exp().item()) / model.logit_scale.exp().item(), 1e-5)

        # One batch, three steps.
        run = f"""
            model = "{MODEL}"
            pretrained = "open_clip.safetensors"
            name = "run"
            [data.train]
            use = "csv"
            path = "train.tsv"
            [objective.clip]
            [train]
            batch = {ROWS}
            steps = 3
            save_every = 1
            keep_last = 3
            log_every = 1
            torch_threads = 2
            [optimizer]
            lr = {LR}
            [schedule]
            use = "constant"
        """
        (folder / "run.toml").write_text("\n".join(line.strip() for line in run.splitlines()))
        vlhub("train", "run.toml", cwd=folder)
        losses = [json.loads(line)["loss"] for line in (folder / "logs/run/metrics.jsonl").read_text().splitlines()]

        model.train()
        images = torch.stack([preprocess(Image.open(pictures / f"{index}.png")) for index in range(ROWS)])
        ids = tokenize(CAPTIONS)
        undecayed = lambda name, p: p.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
        named = list(model.named_parameters())
        optimizer = torch.optim.AdamW(
            [{"params": [p for n, p in named if undecayed(n, p)], "weight_decay": 0.0}, {"params": [p for n, p in named if not undecayed(n, p)], "weight_decay": 0.2}],
            lr=LR, betas=(0.9, 0.98), eps=1e-6,
        )
        for step in range(3):
            optimizer.zero_grad()
            loss = ClipLoss()(*[model.encode_image(images, normalize=True), model.encode_text(ids, normalize=True)], model.logit_scale.exp())
            loss.backward()
            check(f"loss of step {step + 1}", abs(losses[step] - loss.item()), 1e-4)
            if step == 0:
                first = load_file(folder / "logs/run/checkpoints/step-000000001/rank-0.safetensors")
                # Of the whole gradient: a bias whose own gradient is rounding noise (the keys' bias) has no relative error of its own.
                ours = torch.cat([(first[f"optimizer.exp_avg.{name}"] / 0.1).flatten() for name, _ in named])
                theirs = torch.cat([p.grad.flatten() for _, p in named])
                check("gradients, all together", relative(ours, theirs), 1e-4)
                worst = max((relative(first[f"optimizer.exp_avg.{name}"] / 0.1, p.grad), name) for name, p in named if p.grad.norm() > 1e-3 * theirs.norm())
                check(f"gradients, worst parameter ({worst[1]})", worst[0], 1e-3)
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
        last = load_file(folder / "logs/run/checkpoints/step-000000003/rank-0.safetensors")
        check("weights after 3 steps, all together", relative(*(torch.cat([pick(name, p).flatten() for name, p in named]) for pick in (lambda name, p: last[name], lambda name, p: p.detach()))), 1e-4)
        # The gradient of the keys' bias is rounding noise (it moves all scores of a query alike), which Adam scales up to whole steps.
        queries_and_values = lambda name, tensor: torch.cat([tensor.chunk(3)[0], tensor.chunk(3)[2]]) if name.endswith("in_proj_bias") else tensor
        worst = max((relative(queries_and_values(name, last[name]), queries_and_values(name, p.detach())), name) for name, p in named)
        check(f"weights after 3 steps, worst parameter ({worst[1]})", worst[0], 1e-3)
        start = load_file(folder / "open_clip.safetensors")
        moved = lambda of: torch.cat([queries_and_values(name, of(name, p) - start[name]).flatten() for name, p in named])
        check("way of all weights over 3 steps", relative(moved(lambda name, p: last[name]), moved(lambda name, p: p.detach())), 1e-3)
    print(f"{sum(checks)} passed, {len(checks) - sum(checks)} failed")
    sys.exit(not all(checks))


main()
