"""Losses of other programs as functions of what `vlhub plugins try` reads: by their own code where a package has it, restated where none has.

Features are `[N, D]` and not normalised, scales are logarithms, and everything is computed in the precision of the arguments.
"""

import sys
from pathlib import Path
from unittest import mock

import byol_pytorch.byol_pytorch as byol_pytorch
import coca_pytorch
import torch
import torch.nn.functional as F
import x_clip.mlm as x_clip_mlm
import x_clip.visual_ssl as x_clip_ssl
import x_clip.x_clip as x_clip
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from lightly.models.modules import NNMemoryBankModule
from open_clip.coca_model import _build_text_decoder_tower
from open_clip.loss import ClipLoss, CoCaLoss, DistillClipLoss, SigLipLoss
from timm.data.mixup import mixup_target
from timm.loss import BinaryCrossEntropy, LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "golden"))
from filip import transposed_x_clip  # noqa: E402

TRANSPOSED = transposed_x_clip()


def unit(x):
    return F.normalize(x, dim=-1)


def mean(losses):
    return torch.stack(list(losses)).mean()


class Table(nn.Module):
    """The same rows, whatever goes in."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def forward(self, *_, **__):
        return self.rows


class Call(nn.Module):
    """A function in the place of a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Map(nn.Module):
    """A linear map whose weight belongs to somebody else."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, x):
        return x @ self.weight.T


# --- open_clip ---


def clip(image, text, log_scale):
    return ClipLoss()(unit(image), unit(text), log_scale.exp())


def siglip(image, text, log_scale, bias):
    return SigLipLoss()(unit(image), unit(text), log_scale.exp(), bias)


def distill(image, text, log_scale, teacher_image, teacher_text, teacher_log_scale):
    teacher = unit(teacher_image), unit(teacher_text), torch.tensor(teacher_log_scale, dtype=image.dtype).exp()
    return DistillClipLoss()(unit(image), unit(text), log_scale.exp(), *teacher, output_dict=True)["distill_loss"]


def decoder(width, vocab, context, heads, layers, quick_gelu=False):
    """CoCa's decoder, whose parameters begin as random numbers of one size."""
    cfg = {"context_length": context, "vocab_size": vocab, "width": width, "heads": heads, "layers": layers}
    return _build_text_decoder_tower(vocab, cfg, quick_gelu=quick_gelu)


def decoded(built, parameters):
    """`built` with the given parameters, as a function of images and texts."""
    own = {name.removeprefix("text_decoder."): value for name, value in parameters.items() if name.startswith("text_decoder.")}
    own |= {"attn_mask": built.attn_mask.to(own["text_projection"].dtype)}
    return lambda images, texts: torch.func.functional_call(built, own, (images, texts))


def caption(forward, images, texts, ids, pad):
    _, loss = CoCaLoss(caption_loss_weight=1.0, clip_loss_weight=0.0, pad_id=pad)(None, None, forward(images, texts[:, :-1]), ids[:, 1:], None)
    return loss


def coca_pytorch_caption(forward, images, texts, ids, pad):
    """coca-pytorch's own shift and loss. Its decoder is another network, so the one of open_clip stands in its place."""
    model = coca_pytorch.CoCa(dim=4, num_tokens=4, unimodal_depth=0, multimodal_depth=0, contrastive_loss_weight=0.0, pad_id=pad)
    rows = torch.zeros(len(ids), 4)
    model.embed_text = lambda text: (rows, texts[:, : text.shape[1]])
    model.embed_image = lambda **_: (rows, images)
    model.to_logits = Call(lambda tokens: forward(images, tokens))
    return model(ids, image_tokens=images, return_loss=True)


# --- x-clip ---


def with_temperature(model, log_scale):
    del model.temperature
    model.temperature = log_scale
    return model.train()


def x_clip_variant(image, text, log_scale, pooled=None, projections=None, dcl=False, sim_reg=0.0):
    """CLIP's loss with the options of x-clip; the two extra projections are those of pooled features."""
    pooled = pooled or (image, text)
    model = x_clip.CLIP(
        image_encoder=Table(pooled[0]), text_encoder=Table(pooled[1]), dim_image=pooled[0].shape[1], dim_text=pooled[1].shape[1],
        dim_latent=image.shape[1], text_encode_without_mask=True, decoupled_contrastive_learning=dcl,
        extra_latent_projection=projections is not None or sim_reg > 0, sim_reg_loss_weight=sim_reg)
    model.to_visual_latent, model.to_text_latent = Table(image), Table(text)
    # x-clip's similarities fail without extra projections; with the main ones in their place the formula is the plain one.
    extra = tuple(map(Map, projections)) if projections else (model.to_visual_latent, model.to_text_latent)
    model.to_visual_latent_extra, model.to_text_latent_extra = extra
    rows = len(image)
    return with_temperature(model, log_scale)(torch.ones(rows, 1, dtype=torch.long), torch.zeros(rows, 3, 1, 1), return_loss=True)


def x_clip_filip(images, texts, mask, weights, log_scale, transposed=True, dcl=False, class_tokens=False):
    """The fine-grained loss. As written, x-clip's image-to-text half has texts for rows; `transposed` is it with the line that it lacks."""
    model = (TRANSPOSED if transposed else x_clip).CLIP(
        image_encoder=Table(images), text_encoder=Table(texts), dim_image=images.shape[2], dim_text=texts.shape[2],
        dim_latent=weights[0].shape[0], use_all_token_embeds=True, decoupled_contrastive_learning=dcl,
        visual_has_cls_token=class_tokens, text_has_cls_token=class_tokens)
    model.to_visual_latent, model.to_text_latent = map(Map, weights)
    return with_temperature(model, log_scale)(mask.long() * 3, torch.zeros(len(mask), 3, 1, 1), return_loss=True)


def x_clip_masked_words(ids, vocab, seed, tokens=None, head=None, **options):
    """x-clip's masked ids and labels (-1 where nothing is predicted), and its loss of our tokens `[N, L, W]` behind our head."""
    tokens = torch.zeros(*ids.shape, 1) if tokens is None else tokens
    seen = []
    # x-clip's own encoder puts a class token in front, whose logits are dropped.
    encoder = lambda masked: seen.append(masked) or torch.cat([tokens[:, :1], tokens], 1)  # noqa: E731
    module = x_clip_mlm.MLM(encoder, dim=tokens.shape[2], num_tokens=vocab, **options)
    if head is not None:
        module.to_logits = Call(lambda x: F.linear(x, *head))
    torch.manual_seed(seed)
    with mock.patch.object(x_clip_mlm.F, "cross_entropy", wraps=F.cross_entropy) as called:
        loss = module(ids)
    labels = called.call_args.args[1]
    return seen[0], labels.masked_fill(labels == 0, -1), loss


class Flat(nn.Module):
    """Pictures are their own features."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x.flatten(1)


def x_clip_simsiam(a, b, parameters, hidden, out):
    """x-clip's SimSiam: 4 + 4 times DeCLIP's form of the loss."""
    views = iter(())
    pick = lambda x: next(views, x)  # noqa: E731
    model = x_clip_ssl.SimSiam(
        Flat(), image_size=1, channels=a.shape[1], hidden_layer=-1, projection_size=out, projection_hidden_size=hidden, augment_fn=pick)
    # Where x-clip's layers stand in ours. Its maps have no bias, its last norm nothing to learn.
    ours = {f"online_encoder.projector.{at}.weight": f"objective.projector.linears.{at // 3}.weight" for at in (0, 3, 6)}
    for kind in ("weight", "bias"):
        ours |= {f"online_encoder.projector.{at}.{kind}": f"objective.projector.norms.{at // 3}.{kind}" for at in (1, 4)}
        ours |= {f"online_predictor.{at}.{kind}": f"objective.predictor.linears.{at // 3}.{kind}" for at in (0, 3)}
        ours |= {f"online_predictor.1.{kind}": f"objective.predictor.norms.0.{kind}"}
    views = iter(view[:, :, None, None] for view in (a, b))
    given = {name: parameters[place] for name, place in ours.items()}
    return torch.func.functional_call(model.double().train(), given, (a[:, :, None, None],))


# --- heads, SLIP, DeCLIP, BYOL ---


def head(x, parameters, prefix, last_norm=False):
    """Maps with batch norm and ReLU between them: SLIP's `_build_mlp`, DeCLIP's `projection_MLP` and `prediction_MLP`."""
    count = sum(name.startswith(f"{prefix}.linears.") and name.endswith(".weight") for name in parameters)
    for at in range(count):
        x = F.linear(x, parameters[f"{prefix}.linears.{at}.weight"], parameters[f"{prefix}.linears.{at}.bias"])
        if at + 1 < count or last_norm:
            x = F.batch_norm(x, None, None, parameters[f"{prefix}.norms.{at}.weight"], parameters[f"{prefix}.norms.{at}.bias"], training=True)
        x = x.relu() if at + 1 < count else x
    return x


def lightly_simclr(a, b, temperature):
    return NTXentLoss(temperature=temperature)(a, b)


def x_clip_simclr(a, b, temperature):
    return x_clip_ssl.nt_xent_loss(unit(a), unit(b), temperature=temperature)


def slip_simclr(a, b, temperature):
    """SLIP's SIMCLRLoss (and VL Hub's), for one process."""
    a, b, right = unit(a), unit(b), torch.arange(len(a))
    itself = F.one_hot(right, len(a)) * 1e9
    half = lambda x, y: F.cross_entropy(torch.cat([x @ y.T, x @ x.T - itself], 1) / temperature, right)  # noqa: E731
    return (half(a, b) + half(b, a)) / 2


def declip_simsiam(a, b, parameters):
    """DeCLIP's heads and SimSiam's loss by lightly."""
    z = [head(view, parameters, "objective.projector", last_norm=True) for view in (a, b)]
    p = [head(view, parameters, "objective.predictor") for view in z]
    cosine = NegativeCosineSimilarity()
    return (cosine(p[0], z[1].detach()) + cosine(p[1], z[0].detach())) / 2


def byol(views, averages, parameters, hidden, out):
    """byol-pytorch's heads and loss, with each view alone in a head, as in the code of BYOL's authors."""

    def run(name, x):
        mlp = byol_pytorch.MLP(x.shape[1], out, hidden).double()
        places = {"0": "linears.0", "1": "norms.0", "3": "linears.1"}
        own = {f"{at}.{kind}": parameters[f"objective.{name}.{place}.{kind}"] for at, place in places.items() for kind in ("weight", "bias")}
        return torch.func.functional_call(mlp, own, (x,))

    predictions = [run("predictor", run("projector", view)) for view in views]
    targets = [run("target", view).detach() for view in averages]
    loss = byol_pytorch.cosine_loss_fn
    return (loss(predictions[0], targets[1]) + loss(predictions[1], targets[0])).mean()


def nearest(images, texts, queue, log_scale, both=False):
    """DeCLIP's `nn_text` with lightly's memory bank; open_clip's loss where both directions count."""
    bank = NNMemoryBankModule(size=tuple(queue.shape))
    bank.bank.copy_(queue)
    neighbours = [bank(text.detach().float()).to(queue.dtype) for text in texts]
    right = torch.arange(len(images[0]))
    one = lambda image, text: F.cross_entropy(log_scale.exp() * unit(image) @ text.T, right)  # noqa: E731
    if both:
        one = lambda image, text: ClipLoss()(unit(image), text, log_scale.exp())  # noqa: E731
    return mean(one(image, text) for image in images for text in neighbours)


def masked_words(tokens, head, labels):
    """Cross-entropy of the places that are predicted (DeCLIP, BERT)."""
    return F.cross_entropy(F.linear(tokens, *head).flatten(0, 1), labels.flatten(), ignore_index=-1)


# --- VL Hub, Wang and Isola, quasimetrics ---


def weighted_clip(image, text, log_scale, image_weight, text_weight):
    """VL Hub's ClipLoss: weights that are not normalised."""
    logits, right = log_scale.exp() * unit(image) @ unit(text).T, torch.arange(len(image))
    return image_weight * F.cross_entropy(logits, right) + text_weight * F.cross_entropy(logits.T, right)


def belongs(keys):
    """`[N, N]`: which rows share a key, and each row with itself. Keys below 0 are none."""
    same = (keys[:, None, :, None] == keys[None, :, None, :]) & (keys >= 0)[:, None, :, None]
    return same.flatten(2).any(2) | torch.eye(len(keys), dtype=torch.bool)


def positives_clip(image, text, log_scale, right, dcl=False):
    """Targets that are spread evenly over the right answers; `dcl` takes these out of the denominators."""
    logits, targets = log_scale.exp() * unit(image) @ unit(text).T, right.to(image.dtype) / right.sum(1, keepdim=True)
    if not dcl:
        return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
    # A row that belongs to all others has nothing to be told from.
    some = ~right.all(1)
    half = lambda logits: logits.masked_fill(right & some[:, None], -torch.inf).logsumexp(1) - (targets * logits).sum(1)  # noqa: E731
    return ((half(logits) + half(logits.T)) * some).mean() / 2


def positives_siglip(image, text, log_scale, bias, right):
    logits = log_scale.exp() * unit(image) @ unit(text).T + bias
    return -F.logsigmoid(torch.where(right, logits, -logits)).sum() / len(image)


def align_uniform(image, text, alpha=2.0, t=2.0, align_weight=1.0, uniform_weight=1.0, log_scale=None):
    """Wang and Isola's losses; with a scale of the logits, as VL Hub's ClipLossAlignUnif has it."""
    x, y = unit(image), unit(text)
    if log_scale is not None:
        x = log_scale.exp() * x @ y.T
        y = x.T

    def uniform(rows):
        squares = torch.pdist(rows).square()
        return (-t * squares).logsumexp(0) - torch.tensor(len(squares), dtype=rows.dtype).log()

    return align_weight * (x - y).norm(dim=1).pow(alpha).mean() + uniform_weight * (uniform(x) + uniform(y)) / 2


def union_lengths(x, y, component):
    """Interval quasimetric from `x` to `y` `[…, D]`, by components: the lengths of what the intervals [x_j, y_j] cover, `[…, D / component]`.

    All ends are sorted, and each stretch between two neighbours counts if some interval covers it.
    """
    x, y = torch.broadcast_tensors(x, y)
    x, y = (side.unflatten(-1, (-1, component)) for side in (x, y))
    ends = torch.cat([x, y], -1).sort(-1).values
    low, high = ends[..., :-1], ends[..., 1:]
    covered = ((x[..., None] <= low[..., None, :]) & (high[..., None, :] <= y[..., None])).any(-2)
    return ((high - low) * covered).sum(-1)


def iqe(image, text, log_scale, component, raw_alpha=None):
    """CLIP's loss of minus the mean of both directions' distances; the reductions of torchqmet."""

    def distance(x, y):
        parts = union_lengths(x, y, component)
        if raw_alpha is None:
            return parts.sum(-1)
        alpha = raw_alpha.sigmoid()
        return alpha * parts.max(-1).values + (1 - alpha) * parts.mean(-1)

    image, text, right = unit(image), unit(text), torch.arange(len(image))
    there, back = distance(image[:, None], text[None]), distance(text[None], image[:, None])
    logits = -log_scale.exp() * (there + back) / 2
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def vlhub_iqe(image, text, log_scale, component):
    """VL Hub's ClipLossIQE, which measures only rows that belong together."""
    image, text = unit(image), unit(text)
    there, back = (0.5 * union_lengths(x, y, component).sum(-1) for x, y in ((image, text), (text, image)))
    return F.cross_entropy(log_scale.exp() * torch.outer(there, back), torch.arange(len(image)))


# --- classes ---


def hot(labels, classes):
    target = torch.zeros(len(labels), classes + 1, dtype=torch.float64)
    return target.scatter(1, labels.masked_fill(labels < 0, classes), 1.0)[:, :classes]


def vlhub_classes(logits, labels):
    """VL Hub's IntLoss for several labels a row, which sums over labels; here by the rows that have some."""
    losses = [F.cross_entropy(row[None], label[None]) for row, own in zip(logits, labels) for label in own if label >= 0]
    return sum(losses) / (labels >= 0).any(1).sum()


def each_label(logits, labels, smoothing=0.0):
    rows, places = (labels >= 0).nonzero(as_tuple=True)
    return F.cross_entropy(logits[rows], labels[rows, places], label_smoothing=smoothing)


def shares(logits, labels, smoothing=0.0):
    target = hot(labels, logits.shape[1])
    some = target.sum(1) > 0
    return F.cross_entropy(logits[some], target[some] / target[some].sum(1, keepdim=True), label_smoothing=smoothing)


def timm_classes(logits, labels, smoothing=0.0):
    return LabelSmoothingCrossEntropy(smoothing)(logits, labels)


def timm_binary(logits, target, **options):
    return BinaryCrossEntropy(smoothing=options.pop("smoothing", 0.0), **options)(logits, target)


def timm_mixed(labels, classes, share, smoothing=0.0):
    return mixup_target(labels, classes, share, smoothing).double()


def timm_soft(logits, target):
    return SoftTargetCrossEntropy()(logits, target)
