"""Gradient caching as others have it: GradCache's own class, and open_clip's own training loop with `--accum-freq`, each as a function that takes a step."""

import sys
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import torch
from open_clip.loss import ClipLoss

CLAMP = 4.6052


class Encoder(torch.nn.Module):
    """One tower of a CLIP, as GradCache calls its models."""

    def __init__(self, clip, encode):
        super().__init__()
        self.clip, self.encode = clip, encode

    def forward(self, x):
        return getattr(self.clip, self.encode)(x, normalize=True)


def grad_cache(model, optimizer, images, texts, rows):
    # The modules of the package on PyPI import each other by another name than it has there, which is that of a script here.
    package = ModuleType("grad_cache")
    package.__path__ = list(find_spec("gradcache").submodule_search_locations)
    sys.modules["grad_cache"] = package
    from gradcache import GradCache

    loss = ClipLoss()
    encoders = [Encoder(model, "encode_image"), Encoder(model, "encode_text")]
    cache = GradCache(models=encoders, chunk_sizes=rows, loss_fn=lambda image, text: loss(image, text, model.logit_scale.exp()))

    def step():
        optimizer.zero_grad()
        found = cache(images, texts)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, CLAMP)
        return found.item()

    return step


class Chunks:
    """What open_clip's loop needs of a loader: a batch of the loop is a chunk of the step."""

    def __init__(self, images, texts, rows):
        self.chunks = list(zip(images.split(rows), texts.split(rows)))
        self.num_batches, self.num_samples = len(self.chunks), len(images)

    def __iter__(self):
        return iter(self.chunks)


def accum_freq(model, optimizer, images, texts, rows):
    from open_clip_train.train import train_one_epoch

    model.output_dict = True
    chunks, losses = Chunks(images, texts, rows), []
    data = {"train": SimpleNamespace(dataloader=chunks, set_epoch=lambda epoch: None)}
    args = SimpleNamespace(
        device="cpu", precision="fp32", accum_freq=chunks.num_batches, batch_size=rows, world_size=1, rank=0, distill=False, horovod=False,
        skip_scheduler=True, grad_clip_norm=None, log_every_n_steps=1, wandb=False,
    )
    loss = ClipLoss()
    loss.register_forward_hook(lambda module, given, found: losses.append(found["contrastive_loss"].item()))

    def step():
        losses.clear()
        train_one_epoch(model, data, loss, 0, optimizer, None, None, None, args)
        # Each chunk computes the loss of the whole batch.
        return losses[-1]

    return step


WAYS = {"GradCache": grad_cache, "open_clip --accum-freq": accum_freq}
