"""Contrastive objectives: images and texts in a joint space."""

import dataclasses

import torch

import _objectives_reference as ref
from _objectives_cases import MANY, Case, main_pair, many, over_pairs, pairs


def grouped(draw, shape):
    """Pairs of which some share labels, and some have one text."""
    labels = draw.integers(-1, shape.rows // 2, shape.rows, 2).sort(1, descending=True).values
    ids = draw.integers(1, 4, shape.rows, 3)
    return pairs(draw, shape) | {"labels": labels, "ids.main": ids}


def by_labels(x):
    return ref.belongs(x["labels"])


def by_texts(x):
    return (x["ids.main"][:, None] == x["ids.main"][None]).all(2)


def clip():
    options = {"image_weight": 0.3, "text_weight": 0.9}
    yield Case("clip", "open_clip ClipLoss", pairs, lambda x, _: ref.clip(*main_pair(x)))
    yield Case("clip", "open_clip ClipLoss", pairs, lambda x, _: ref.clip(*main_pair(x)), {"tile": 4})
    yield Case("clip", "open_clip ClipLoss, mean over pairs", many, over_pairs(ref.clip), {"pairs": MANY})
    yield Case("clip", "VL Hub ClipLoss, restated", pairs, lambda x, _: ref.weighted_clip(*main_pair(x), *options.values()), options)
    for tile in ({}, {"tile": 5}):
        for by, belongs in (("labels", by_labels), ("texts", by_texts)):
            for dcl in ({}, {"dcl": True}):
                wanted = lambda x, _, belongs=belongs, dcl=dcl: ref.positives_clip(*main_pair(x), belongs(x), **dcl)  # noqa: E731
                yield Case("clip", "soft targets, restated", grouped, wanted, {"positives": by} | dcl | tile)
        yield Case("clip", "x-clip CLIP", pairs, lambda x, _: ref.x_clip_variant(*main_pair(x), dcl=True), {"dcl": True} | tile)
        yield Case("clip", "x-clip CLIP", pairs, lambda x, _: ref.x_clip_variant(*main_pair(x), sim_reg=0.7), {"sim_reg_weight": 0.7} | tile)
        yield Case("clip", "x-clip CLIP", projected, x_clip_projected(), {"extra_projections": True} | tile)
        every = {"extra_projections": True, "dcl": True, "sim_reg_weight": 3.0}
        yield Case("clip", "x-clip CLIP", projected, x_clip_projected(dcl=True, sim_reg=3.0), every | tile)


def projected(draw, shape):
    made = pairs(draw, shape)
    for name, width in (("image", shape.image), ("text", shape.text)):
        made[f"{name}.main.pooled"] = draw.normal(shape.rows, width)
        made[f"objective.{name}_projection.weight"] = draw.normal(shape.embed, width, size=width**-0.5)
    return made


def x_clip_projected(**options):
    def loss(x, _):
        pooled = [x[f"{modality}.main.pooled"] for modality in ("image", "text")]
        maps = [x[f"objective.{modality}_projection.weight"] for modality in ("image", "text")]
        return ref.x_clip_variant(*main_pair(x), pooled=pooled, projections=maps, **options)

    return loss


def siglip():
    bias = lambda made: made | {"logit_bias": torch.tensor(-8.0)}  # noqa: E731
    plain = lambda draw, shape: bias(pairs(draw, shape))  # noqa: E731
    for tile in ({}, {"tile": 4}):
        yield Case("siglip", "open_clip SigLipLoss", plain, lambda x, _: ref.siglip(*main_pair(x), x["logit_bias"]), tile)
        for by, belongs in (("labels", by_labels), ("texts", by_texts)):
            wanted = lambda x, _, belongs=belongs: ref.positives_siglip(*main_pair(x), x["logit_bias"], belongs(x))  # noqa: E731
            yield Case("siglip", "log-sigmoid, restated", lambda draw, shape: bias(grouped(draw, shape)), wanted, {"positives": by} | tile)
    wanted = lambda x, _: over_pairs(lambda *pair: ref.siglip(*pair, x["logit_bias"]))(x, _)  # noqa: E731
    yield Case("siglip", "open_clip SigLipLoss, mean over pairs", lambda draw, shape: bias(many(draw, shape)), wanted, {"pairs": MANY})


def filip():
    dim = 12

    def tokens(draw, shape, images=("main",), texts=("main",), extra=0):
        made = pairs(draw, shape, images, texts)
        for view in images:
            made[f"image.{view}.tokens"] = draw.normal(shape.rows, 7 + extra, shape.image)
        for view in texts:
            mask = draw.lengths(shape.rows, 1, 9)
            made[f"text.{view}.tokens"] = draw.normal(shape.rows, 9 + extra, shape.text)
            made[f"text.{view}.mask"] = torch.cat([torch.ones(shape.rows, extra, dtype=torch.bool), mask], 1)
        made |= {"objective.image.weight": draw.normal(dim, shape.image), "objective.text.weight": draw.normal(dim, shape.text)}
        return made

    def x_clip(x, image="main", text="main", mask=None, **options):
        weights = x["objective.image.weight"], x["objective.text.weight"]
        mask = x[f"text.{text}.mask"] if mask is None else mask(x[f"text.{text}.mask"])
        return ref.x_clip_filip(x[f"image.{image}.tokens"], x[f"text.{text}.tokens"], mask, weights, x["logit_scale"], **options)

    def inner(mask):
        """Without start and end, where something else is left."""
        place, count = mask.cumsum(1), mask.sum(1, keepdim=True)
        return torch.where(count > 2, mask & (place > 1) & (place < count), mask)

    fixed = "x-clip CLIP, transposed"
    for options in ({}, {"tile": 3}, {"dcl": True}):
        wanted = lambda x, _, dcl="dcl" in options: x_clip(x, dcl=dcl)  # noqa: E731
        yield Case("filip", fixed, tokens, wanted, {"dim": dim} | options)
    wanted = lambda x, _: ref.mean(x_clip(x, *pair) for pair in MANY)  # noqa: E731
    views = lambda draw, shape: tokens(draw, shape, ("main", "alt"), ("main", "eda"))  # noqa: E731
    yield Case("filip", f"{fixed}, mean over pairs", views, wanted, {"dim": dim, "pairs": MANY})
    skip = {"dim": dim, "image_skip": 1, "text_skip": [1, 0]}
    wanted = lambda x, _: x_clip(x, mask=lambda mask: mask[:, 1:], class_tokens=True)  # noqa: E731
    yield Case("filip", f"{fixed}, class tokens", lambda draw, shape: tokens(draw, shape, extra=1), wanted, skip)
    yield Case("filip", fixed, tokens, lambda x, _: x_clip(x, mask=inner), {"dim": dim, "text_skip": [1, 1]})
    for dcl in ({}, {"dcl": True}):
        wanted = lambda x, _, dcl=dcl: x_clip(x, transposed=False, **dcl)  # noqa: E731
        yield Case("filip", "x-clip CLIP as written", tokens, wanted, {"dim": dim, "compat": "vlhub"} | dcl)


def nearest():
    def inputs(images, texts):
        def made(draw, shape):
            queue = torch.nn.functional.normalize(draw.normal(50, shape.embed), dim=1)
            return pairs(draw, shape, images, texts) | {"objective.queue": queue, "objective.position": torch.tensor(7)}

        return made

    for images, texts, both in ((["main"], ["main"], False), (["main", "alt"], ["main", "eda"], False), (["main"], ["main", "eda"], True)):

        def wanted(x, _, images=images, texts=texts, both=both):
            views = [[x[f"{modality}.{view}"] for view in views] for modality, views in (("image", images), ("text", texts))]
            return ref.nearest(*views, x["objective.queue"], x["logit_scale"], both)

        options = {"queue": 50, "images": images, "texts": texts, "both": both}
        options = {key: value for key, value in options.items() if value not in (["main"], False)}
        yield Case("nearest", "lightly NNMemoryBankModule, DeCLIP's loss" + (" both ways" if both else ""), inputs(images, texts), wanted, options)


def distill():
    def inputs(name, images=("main",), texts=("main",), scale=None):
        def made(draw, shape):
            other = dataclasses.replace(shape, embed=shape.text, alike=1.0 - shape.alike / 2)
            teacher = pairs(draw, other, images, texts)
            made = {f"teacher.{name}.{key}": value for key, value in teacher.items() if key != "logit_scale"}
            return pairs(draw, shape, images, texts) | made | ({} if scale is None else {f"teacher.{name}.log_scale": torch.tensor(scale)})

        return made

    def open_clip(x, name, scale, image="main", text="main"):
        views = f"image.{image}", f"text.{text}"
        return ref.distill(*(x[view] for view in views), x["logit_scale"], *(x[f"teacher.{name}.{view}"] for view in views), scale)

    reference = "open_clip DistillClipLoss"
    yield Case("distill", reference, inputs("teacher", scale=2.5), lambda x, _: open_clip(x, "teacher", 2.5))
    yield Case("distill", reference, inputs("big"), lambda x, _: open_clip(x, "big", 1.25), {"teacher": "big", "teacher_log_scale": 1.25})
    wanted = lambda x, _: ref.mean(open_clip(x, "teacher", 4.0, *pair) for pair in MANY)  # noqa: E731
    yield Case("distill", f"{reference}, mean over pairs", inputs("teacher", ("main", "alt"), ("main", "eda"), 4.0), wanted, {"pairs": MANY})


def quasimetric():
    for component, options in ((8, {"component": 8}), (4, {"component": 4, "tile": 3})):
        wanted = lambda x, _, component=component: ref.iqe(*main_pair(x), component)  # noqa: E731
        yield Case("iqe", "quasimetric of covered stretches, restated", pairs, wanted, options)
    alpha = lambda draw, shape: pairs(draw, shape) | {"objective.raw_alpha": torch.tensor(-0.6)}  # noqa: E731
    wanted = lambda x, _: ref.iqe(*main_pair(x), 4, x["objective.raw_alpha"])  # noqa: E731
    yield Case("iqe", "the same, torchqmet's maxmean", alpha, wanted, {"component": 4, "reduce": "maxmean"})
    wanted = over_pairs(lambda *pair: ref.iqe(*pair, 8))
    yield Case("iqe", "the same, mean over pairs", many, wanted, {"component": 8, "pairs": MANY})
    wanted = lambda x, _: ref.vlhub_iqe(*main_pair(x), 8)  # noqa: E731
    yield Case("iqe", "VL Hub ClipLossIQE, restated", pairs, wanted, {"component": 8, "compat": "vlhub"})


def align_uniform():
    without = lambda made: {name: value for name, value in made.items() if name != "logit_scale"}  # noqa: E731
    for options in ({}, {"alpha": 1.0, "t": 3.0}, {"align_weight": 0.5, "uniform_weight": 2.0}):
        wanted = lambda x, _, options=options: ref.align_uniform(x["image.main"], x["text.main"], **options)  # noqa: E731
        yield Case("align_uniform", "Wang and Isola, restated", lambda draw, shape: without(pairs(draw, shape)), wanted, options)
    wanted = lambda x, _: ref.mean(ref.align_uniform(x[f"image.{image}"], x[f"text.{text}"]) for image, text in MANY)  # noqa: E731
    yield Case("align_uniform", "Wang and Isola, restated, mean over pairs", lambda draw, shape: without(many(draw, shape)), wanted, {"pairs": MANY})
    wanted = lambda x, _: ref.align_uniform(x["image.main"], x["text.main"], log_scale=x["logit_scale"])  # noqa: E731
    yield Case("align_uniform", "VL Hub ClipLossAlignUnif, restated", pairs, wanted, {"on": "logits"})
