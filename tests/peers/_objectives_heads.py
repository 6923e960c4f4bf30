"""Objectives with heads of their own: two pictures of an image, masked words, classes, captions."""

import torch

import _objectives_reference as ref
from _objectives_cases import Case


def two_views(draw, shape, pooled=True, views=("a", "b"), average=False):
    """Two image views, which are more alike from shape to shape."""
    width, made = shape.image if pooled else shape.embed, {}
    common = draw.normal(shape.rows, width)
    for place in ("", "average.") if average else ("",):
        for view in views:
            made[f"{place}image.{view}"] = draw.normal(shape.rows, shape.embed) + (0 if pooled else shape.alike * common)
            if pooled:
                made[f"{place}image.{view}.pooled"] = draw.normal(shape.rows, width) + shape.alike * common
    return made


def seen(x, view, on="pooled", place=""):
    return x[f"{place}image.{view}{'.pooled' if on == 'pooled' else ''}"]


def simclr():
    def case(reference, loss, hidden=(16, 10), out=6, temperature=0.1, on="pooled", views=("a", "b"), **options):
        def inputs(draw, shape):
            width = shape.image if on == "pooled" else shape.embed
            return two_views(draw, shape, on == "pooled", views) | draw.head("objective.projector", [width, *hidden, out])

        def wanted(x, _):
            return loss(*(ref.head(seen(x, view, on), x, "objective.projector") for view in views), temperature)

        named = {"temperature": temperature, "hidden": list(hidden), "out": out, "on": on, "views": list(views)} | options
        given = {"temperature": 0.1, "on": "pooled", "views": ["a", "b"]}
        return Case("simclr", reference, inputs, wanted, {key: value for key, value in named.items() if given.get(key) != value})

    yield case("lightly NTXentLoss, SLIP's head", ref.lightly_simclr)
    yield case("lightly NTXentLoss, SLIP's head", ref.lightly_simclr, tile=4)
    yield case("lightly NTXentLoss, SLIP's head", ref.lightly_simclr, hidden=[9], out=5, temperature=0.5, on="embed", views=["main", "alt"])
    yield case("x-clip nt_xent_loss of unit vectors", ref.x_clip_simclr, temperature=0.04)
    yield case("SLIP and VL Hub SIMCLRLoss, restated", ref.slip_simclr, hidden=[], out=7)


def byol():
    for hidden, out, on in ((16, 6, "pooled"), (5, 9, "embed")):

        def inputs(draw, shape, hidden=hidden, out=out, on=on):
            width = shape.image if on == "pooled" else shape.embed
            made = two_views(draw, shape, on == "pooled", average=True)
            for name, widths in (("projector", [width, hidden, out]), ("predictor", [out, hidden, out]), ("target", [width, hidden, out])):
                made |= draw.head(f"objective.{name}", widths)
            return made

        def wanted(x, _, hidden=hidden, out=out, on=on):
            views, averages = ([seen(x, view, on, place) for view in "ab"] for place in ("", "average."))
            return ref.byol(views, averages, x, hidden, out)

        options = {"hidden": hidden, "out": out} | ({} if on == "pooled" else {"on": on})
        yield Case("byol", "byol-pytorch MLP and loss_fn", inputs, wanted, options)


def simsiam():
    def inputs(on, hidden, out, bottleneck, plain=False):
        def made(draw, shape):
            width = shape.image if on == "pooled" else shape.embed
            heads = draw.head("objective.projector", [width, hidden, hidden, out], True) | draw.head("objective.predictor", [out, bottleneck, out])
            for name in missing if plain else ():
                heads[name] = torch.ones(out) if name.endswith("norms.2.weight") else torch.zeros_like(heads[name])
            return two_views(draw, shape, on == "pooled") | heads

        return made

    sizes = {"hidden": 12, "out": 8, "bottleneck": 6}
    for on in ("embed", "pooled"):
        wanted = lambda x, _, on=on: ref.declip_simsiam(seen(x, "a", on), seen(x, "b", on), x)  # noqa: E731
        options = sizes | ({} if on == "embed" else {"on": on})
        yield Case("simsiam", "lightly NegativeCosineSimilarity, DeCLIP's heads", inputs(on, **sizes), wanted, options)
    missing = [f"objective.projector.linears.{at}.bias" for at in range(3)] + [f"objective.projector.norms.2.{kind}" for kind in ("weight", "bias")]
    sizes = {"hidden": 12, "out": 8, "bottleneck": 12}
    wanted = lambda x, _: ref.x_clip_simsiam(x["image.a"], x["image.b"], x, 12, 8)  # noqa: E731
    how = {"beyond": tuple(missing), "scale": 4, "shift": 4}
    yield Case("simsiam", "x-clip SimSiam, 4 + 4 times ours", inputs("embed", plain=True, **sizes), wanted, sizes, **how)


def mlm():
    vocab, length, seed = 60, 12, 5
    head = lambda x: (x["objective.logits.weight"], x["objective.logits.bias"])  # noqa: E731

    def texts(draw, shape):
        """Start, words and end; the mask's id is no word."""
        ids, mask = draw.integers(3, vocab - 2, shape.rows, length), draw.lengths(shape.rows, 3, length)
        ids[:, 0] = vocab - 2
        ids.scatter_(1, mask.sum(1, keepdim=True) - 1, vocab - 1)
        return ids * mask

    def inputs(draw, shape, tokens=length):
        made = {"text.mlm": draw.normal(shape.rows, shape.embed), "text.mlm.tokens": draw.normal(shape.rows, tokens, shape.text)}
        made |= {"objective.logits.weight": draw.normal(vocab, shape.text, size=0.3), "objective.logits.bias": draw.normal(vocab, size=0.1)}
        return made | {"ids.main": texts(draw, shape)}

    def x_clip_inputs(draw, shape):
        made = inputs(draw, shape)
        made["ids.mlm"], made["mlm_labels"], _ = ref.x_clip_masked_words(made["ids.main"], vocab, seed, **drawn)
        return made | {"text.mlm.mask": made["ids.main"] != 0}

    def labelled(draw, shape):
        """The masking of BERT, and a tower that gives no token for the start."""
        made = inputs(draw, shape, length - 1)
        ids = made["ids.main"]
        hidden = (draw.normal(*ids.shape) > 0.8) & (ids > 0) & (ids < vocab - 2)
        made |= {"ids.mlm": ids.masked_fill(hidden, 2), "mlm_labels": ids.masked_fill(~hidden, -1), "text.mlm.mask": ids[:, 1:] != 0}
        return made

    def prepared(x, out, share):
        ids, masked = x["ids.main"], out["ids.mlm"]
        words = ((ids > 0) & (ids < vocab - 2)).sum(1)
        assert ((masked == 2).sum(1) == (share * words + 0.5).floor().clamp(1)).all(), "each text loses its share of words"
        assert ((masked == ids) | (masked == 2)).all() and (masked[ids >= vocab - 2] >= vocab - 2).all()
        return ref.masked_words(x["text.mlm.tokens"], head(x), ids.masked_fill(masked != 2, -1))

    drawn, metadata = {"mask_prob": 0.3, "random_token_prob": 0.1}, {"vocab": str(vocab)}
    wanted = lambda x, _: ref.x_clip_masked_words(x["ids.main"], vocab, seed, x["text.mlm.tokens"], head(x), **drawn)[2]  # noqa: E731
    yield Case("mlm", "x-clip MLM", x_clip_inputs, wanted, metadata=metadata, note="x-clip's draw")
    wanted = lambda x, _: ref.masked_words(x["text.mlm.tokens"], head(x), x["mlm_labels"][:, 1:])  # noqa: E731
    yield Case("mlm", "DeCLIP, BERT, restated", labelled, wanted, metadata=metadata, note="no token for the start")
    for share in (0.15, 0.5):
        options = {"mask": share, "random": 0.0, "keep": 0.0}
        wanted = lambda x, out, share=share: prepared(x, out, share)  # noqa: E731
        yield Case("mlm", "DeCLIP, BERT, restated", inputs, wanted, options, metadata, note="our draw")


def classify():
    classes = 11

    def inputs(kinds, mixed=False):
        def made(draw, shape):
            view = "classify_mixed" if mixed else "main"
            made = {f"image.{view}": draw.normal(shape.rows, shape.embed), f"image.{view}.pooled": draw.normal(shape.rows, shape.image, size=2.0)}
            made |= {"objective.weight": draw.normal(classes, shape.image, size=0.5), "objective.bias": draw.normal(classes, size=0.3)}
            if mixed:
                made["pictures.main"] = draw.normal(shape.rows, 3, 10, 12)
            if kinds == 1:
                return made | {"labels": draw.integers(0, classes, shape.rows)}
            labels = torch.stack([torch.randperm(classes, generator=draw.generator)[:kinds] for _ in range(shape.rows)])
            labels[~draw.lengths(shape.rows, 0, kinds)] = -1
            return made | {"labels": labels}

        return made

    def logits(x, view="main"):
        return torch.nn.functional.linear(x[f"image.{view}.pooled"], x["objective.weight"], x["objective.bias"])

    def share(x, out):
        """How much of each picture is its own: what `prepare` drew."""
        whole, mixed = x["pictures.main"], out["pictures.classify_mixed"].double()
        other = whole.flip(0)
        pasted = ((mixed == whole) | (mixed == other)).all()
        # The middle row of an odd number is its own partner; the first one never is.
        own = (mixed[0] == whole[0]).double().mean() if pasted else ((mixed - other) * (whole - other)).sum() / (whole - other).square().sum()
        assert pasted or (own * whole + (1 - own) * other - mixed).abs().max() < 1e-5, "a blend of two pictures"
        return own.item()

    def mixed(loss):
        return lambda x, out: loss(logits(x, "classify_mixed"), x["labels"], share(x, out))

    def case(reference, kinds, wanted, **options):
        note = "" if kinds == 1 else "several labels"
        loss = lambda x, _: wanted(logits(x), x["labels"])  # noqa: E731
        return Case("classify", reference, inputs(kinds), loss, {"classes": classes} | options, note=note)

    def mixes(reference, wanted, **options):
        return Case("classify", reference, inputs(1, True), mixed(wanted), {"classes": classes} | options)

    yield case("timm LabelSmoothingCrossEntropy", 1, ref.timm_classes)
    yield case("timm LabelSmoothingCrossEntropy", 1, lambda z, y: ref.timm_classes(z, y, 0.1), label_smoothing=0.1)
    yield case("torch cross_entropy of shares", 4, ref.shares)
    yield case("torch cross_entropy of shares", 4, lambda z, y: ref.shares(z, y, 0.2), label_smoothing=0.2)
    yield case("VL Hub IntLoss, restated, over rows", 4, ref.vlhub_classes, several="sum")
    yield case("torch cross_entropy, a row for each label", 4, lambda z, y: ref.each_label(z, y, 0.1), several="each", label_smoothing=0.1)
    yield case("timm BinaryCrossEntropy", 1, ref.timm_binary, loss="bce")
    yield case("timm BinaryCrossEntropy", 1, lambda z, y: ref.timm_binary(z, y, smoothing=0.1), loss="bce", label_smoothing=0.1)
    some = lambda z, y, **how: ref.timm_binary(z[(y >= 0).any(1)], ref.hot(y, classes)[(y >= 0).any(1)], **how)  # noqa: E731
    yield case("timm BinaryCrossEntropy", 4, some, loss="bce")
    yield case("timm BinaryCrossEntropy", 4, lambda z, y: some(z, y, sum_classes=True), loss="bce", sum_classes=True)
    soft = lambda smoothing: lambda z, y, own: ref.timm_soft(z, ref.timm_mixed(y, classes, own, smoothing))  # noqa: E731
    yield mixes("timm mixup_target, SoftTargetCrossEntropy", soft(0.0), mixup=0.8)
    yield mixes("timm mixup_target, SoftTargetCrossEntropy", soft(0.1), cutmix=1.0, label_smoothing=0.1)
    hard = lambda z, y, own: ref.timm_binary(z, ref.timm_mixed(y, classes, own, 0.1), target_threshold=0.2)  # noqa: E731
    yield mixes("timm mixup_target, BinaryCrossEntropy", hard, loss="bce", mixup=0.2, label_smoothing=0.1, target_threshold=0.2)


def caption():
    vocab, length = 50, 11

    def case(reference, loss, layers=2, heads=4, quick_gelu=False, pad=0, context=None, **options):
        context = context or length

        def built(width):
            return ref.decoder(width, vocab, context, heads, layers, quick_gelu)

        def inputs(draw, shape):
            width = shape.rows // 4 * 8
            mask = draw.lengths(shape.rows, 1, length)
            ids = draw.integers(1, vocab, shape.rows, length).masked_fill(~mask, 0)
            made = {"ids.main": torch.where(ids == pad, pad + 1, ids).masked_fill(~mask, pad)}
            for modality, count in (("image", 6), ("text", length)):
                made[f"{modality}.main"] = draw.normal(shape.rows, shape.embed)
                made[f"{modality}.main.tokens"] = draw.normal(shape.rows, count, width)
            for name, value in built(width).named_parameters():
                matrix = value.ndim > 1
                fresh = draw.normal(*value.shape, size=value.shape[-1] ** -0.5 if matrix else 0.1)
                made[f"text_decoder.{name}"] = fresh + 1 if name.endswith("weight") and not matrix else fresh
            return made

        def wanted(x, _):
            images, texts = x["image.main.tokens"], x["text.main.tokens"]
            return loss(ref.decoded(built(images.shape[2]), x), images, texts, x["ids.main"], pad)

        named = {"layers": layers, "heads": heads} | ({"quick_gelu": True} if quick_gelu else {}) | options
        return Case("caption", reference, inputs, wanted, named, {"vocab": str(vocab), "context": str(context), "pad": str(pad)})

    yield case("open_clip CoCaLoss and decoder", ref.caption)
    yield case("open_clip CoCaLoss and decoder", ref.caption, layers=1, heads=2, quick_gelu=True, context=20)
    yield case("open_clip CoCaLoss and decoder", ref.caption, layers=3, heads=8, pad=3)
    yield case("coca-pytorch CoCa, open_clip's decoder", ref.coca_pytorch_caption, layers=1, heads=4)
