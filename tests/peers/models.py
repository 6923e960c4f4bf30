"""Every model config that VL Hub knows, against open_clip and timm: one random model each, saved by Python and read by `vlhub embed`.

Weights are random in every place, so that nothing can hide behind a zero or a one. A model of more than 8 GB is cut to fewer blocks on both
sides, and the table says so. The table is `models.md` beside this script; a run over some of the names (environment variable VLHUB_MODELS, a
pattern such as `ViT-B*`) changes their lines alone. VLHUB_MODELS=new runs what is not done yet.
"""

import copy
import fnmatch
import gc
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
os.environ["HF_HUB_OFFLINE"] = "1"
# Initial values are overwritten; drawing them would take most of the time.
for method in ("normal_", "uniform_", "erfinv_", "log_normal_"):
    setattr(torch.Tensor, method, lambda self, *_, **__: self)

import open_clip  # noqa: E402
import timm  # noqa: E402
import transformers  # noqa: E402
from open_clip.model import _build_vision_tower  # noqa: E402

VLHUB = os.environ["VLHUB_BIN"]
HERE = Path(__file__).resolve().parent
TABLE = HERE / "models.md"
BOUND, LARGEST, KEPT = 1e-4, 2.0e9, 4
CAPTIONS = ["a red circle", "two blue squares on a plain background", "caf\u00e9 de flore, paris"]

# What `AutoConfig.from_pretrained` would fetch.
HF = {
    "bert-base-uncased": lambda: transformers.BertConfig(),
    "roberta-base": lambda: transformers.RobertaConfig(
        vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0, eos_token_id=2),
    "xlm-roberta-base": lambda: transformers.XLMRobertaConfig(
        vocab_size=250002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0, eos_token_id=2),
    "xlm-roberta-large": lambda: transformers.XLMRobertaConfig(
        vocab_size=250002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
    "google/mt5-base": lambda: transformers.MT5Config(
        vocab_size=250112, d_model=768, d_kv=64, d_ff=2048, num_layers=12, num_heads=12, feed_forward_proj="gated-gelu", pad_token_id=0),
    "google/mt5-xl": lambda: transformers.MT5Config(
        vocab_size=250112, d_model=2048, d_kv=64, d_ff=5120, num_layers=24, num_heads=32, feed_forward_proj="gated-gelu", pad_token_id=0),
    "facebook/nllb-200-distilled-600M": lambda: transformers.M2M100Config(
        vocab_size=256206, d_model=1024, encoder_layers=12, decoder_layers=1, encoder_ffn_dim=4096, decoder_ffn_dim=64,
        encoder_attention_heads=16, decoder_attention_heads=16, max_position_embeddings=1024, scale_embedding=True, activation_function="relu", pad_token_id=1),
    "facebook/nllb-200-distilled-1.3B": lambda: transformers.M2M100Config(
        vocab_size=256206, d_model=1024, encoder_layers=24, decoder_layers=1, encoder_ffn_dim=8192, decoder_ffn_dim=64,
        encoder_attention_heads=16, decoder_attention_heads=16, max_position_embeddings=1024, scale_embedding=True, activation_function="relu", pad_token_id=1),
}
transformers.AutoConfig.from_pretrained = lambda name, *_, **__: HF[name]()


def natural(name):
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", name)]


def configs():
    folder = HERE / "../../host/src/models"
    return {name: config for file in ("open_clip.json", "vlhub.json") for name, config in json.loads((folder / file).read_text()).items()}


def fill(model, block=torch.randn(1_000_003, generator=torch.Generator().manual_seed(0))):
    """Random values in every floating-point tensor: matrices keep the size of what they map, gains are near 1."""
    start = 0
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point() or name == "attn_mask":
                continue
            count, flat = tensor.numel(), tensor.view(-1) if tensor.is_contiguous() else None
            values = block.roll(-start)[:count] if count <= len(block) else block.roll(-start).repeat(count // len(block) + 1)[:count]
            start = (start + count) % len(block)
            last = name.split(".")[-1]
            if last == "running_var":
                values = 1 + 0.2 * values.clamp(-3, 3)
            elif name in ("logit_scale", "logit_bias"):
                values = torch.full((count,), 2.0 if name == "logit_scale" else -3.0)
            elif tensor.ndim <= 1 or last.startswith("pos_embed") or "embedding" in last or "token" in last:
                values = (1 if last == "weight" and tensor.ndim == 1 else 0) + 0.1 * values
            else:
                values = values * (tensor.shape[0] / count) ** 0.5
            (flat if flat is not None else tensor).copy_(values if flat is not None else values.reshape(tensor.shape))


def cut(config):
    """Fewer blocks; returns the overrides that do the same here."""
    overrides = []
    vision, text = config["vision_cfg"], config.get("text_cfg", {})
    if vision.get("timm_model_name"):
        create = timm.create_model
        timm.create_model = lambda *args, **options: create(*args, **options, depth=KEPT)
        overrides.append(f"backbone.image.layers={KEPT}")
        return overrides, lambda: setattr(timm, "create_model", create)
    for place, tower in (("image", vision), ("text", text)):
        if isinstance(tower.get("layers"), int) and tower["layers"] > KEPT:
            tower["layers"] = KEPT
            overrides.append(f"backbone.{place}.layers={KEPT}")
    if text.get("hf_model_name"):
        name, config_of = text["hf_model_name"], HF[text["hf_model_name"]]

        def shallow():
            config = config_of()
            config.num_layers = KEPT
            return config

        HF[name] = shallow
        overrides.append(f"backbone.text.layers={KEPT}")
        return overrides, lambda: HF.__setitem__(name, config_of)
    return overrides, lambda: None


class ImageOnly(torch.nn.Module):
    """penfever/vlhub's classifiers have no text tower."""

    def __init__(self, config):
        super().__init__()
        self.visual = _build_vision_tower(config["embed_dim"], config["vision_cfg"], config.get("quick_gelu", False))

    def encode_image(self, x, normalize):
        x = self.visual(x)
        return torch.nn.functional.normalize(x, dim=-1) if normalize else x


def build(name, config):
    config["vision_cfg"].pop("timm_model_pretrained", None)
    rate = config["vision_cfg"].pop("drop_rate", None)
    if rate is not None:
        config["vision_cfg"]["timm_drop"] = rate
    text = config.get("text_cfg")
    if text is None:
        return ImageOnly(config).eval()
    text["hf_model_pretrained"] = False
    for old, new in (("proj", "hf_proj_type"), ("pooler_type", "hf_pooler_type")):
        if old in text:
            text[new] = text.pop(old)
    open_clip.factory._MODEL_CONFIGS[name] = config
    return open_clip.create_model(name, pretrained=None, load_weights=False, pretrained_text=False).eval()


class Refused(Exception):
    """There is nothing to compare with."""


def wide(config):
    """timm maps the name of Instagram's 32x48d to a network of 8 channels a group; the name says 48."""
    create = timm.create_model
    config["vision_cfg"]["timm_model_name"] = "resnext101_32x8d"
    timm.create_model = lambda *args, **options: create(*args, **options, base_width=48)
    return lambda: setattr(timm, "create_model", create)


def one(name, config, folder):
    note, overrides, restore = "", [], lambda: None
    known = float(json.loads(vlhub("models", "list", name, "--json"))[0]["parameters"] or 0)
    config = copy.deepcopy(config)
    if known > LARGEST:
        overrides, restore = cut(config)
        note = f"{known / 1e9:.1f} G parameters: {KEPT} blocks"
    if config["vision_cfg"].get("timm_model_name") == "ig_resnext101_32x48d":
        restore, note = wide(config), "timm 1.0.31 takes this name for a 32x8d; compared with its network at base_width = 48"
    try:
        model = build(name, config)
    except Exception as why:
        raise Refused(f"the reference cannot build it: {type(why).__name__} {why}".strip()) from why
    finally:
        restore()
    fill(model)
    size = model.visual.image_size
    size = (size, size) if isinstance(size, int) else tuple(size)
    random = numpy.random.default_rng(0)
    arguments = ["embed", *overrides, "--model", name, "--checkpoint", str(folder / "model.safetensors"), "--out", str(folder / "out.safetensors")]
    pictures = [folder / f"{index}.png" for index in range(2)]
    for path in pictures:
        Image.fromarray(random.integers(0, 256, (7, 9, 3), dtype=numpy.uint8)).resize(size[::-1]).save(path)
    arguments += ["--images", *map(str, pictures)]
    transform = open_clip.image_transform(size, is_train=False)
    wanted = {}
    with torch.no_grad():
        images = torch.stack([transform(Image.open(path)) for path in pictures])
        wanted["image"] = model.encode_image(images, normalize=True)
        text = config.get("text_cfg")
        if text is not None:
            context = text.get("context_length", 77)
            if text.get("hf_tokenizer_name") or text.get("hf_model_name"):
                # Published tokenizers are not here: ids of full and of short texts, the way each of them pads and ends.
                hf = getattr(getattr(model, "text", None), "config", None)
                pad = hf.pad_token_id if hf is not None else text.get("pad_id", 0)
                vocab = hf.vocab_size if hf is not None else text["vocab_size"]
                ids = torch.from_numpy(random.integers(5, vocab - 1, (3, context)))
                for row, length in ((1, context // 2), (2, 3)):
                    ids[row, length - 1] = text.get("eos_id", 2)
                    ids[row, length:] = pad
                save_file({"ids": ids}, folder / "ids.safetensors")
                arguments += ["--text-ids", str(folder / "ids.safetensors")]
            else:
                (folder / "texts.txt").write_text("\n".join(CAPTIONS) + "\n")
                arguments += ["--texts", str(folder / "texts.txt")]
                ids = open_clip.SimpleTokenizer(context_length=context)(CAPTIONS)
            wanted["text"] = model.encode_text(ids, normalize=True)
    state, seen = {}, set()
    for key, tensor in model.state_dict().items():
        if key != "attn_mask":
            # Modules may share a parameter; safetensors keeps each name's own copy.
            state[key] = tensor.clone() if tensor.data_ptr() in seen else tensor.contiguous()
            seen.add(tensor.data_ptr())
    save_file(state, folder / "model.safetensors")
    del model, state
    gc.collect()
    vlhub(*arguments)
    ours = load_file(folder / "out.safetensors")
    errors = [((ours[key] - value).norm() / value.norm()).item() for key, value in wanted.items()]
    apart = (wanted["image"][0] - wanted["image"][1]).norm().item()
    if apart < 1e-3:
        note += f" the two pictures are only {apart:.0e} apart"
    return max(errors), note.strip()


def vlhub(*arguments):
    done = subprocess.run([VLHUB, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    return done.stdout


def read():
    rows = {}
    for line in TABLE.read_text().splitlines() if TABLE.exists() else []:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and cells[0] not in ("model", "---"):
            rows[cells[0]] = cells
    return rows


def write(rows, theirs):
    done = [name for name in rows if rows[name][2] == "done"]
    head = [
        "# Models against open_clip and timm", "",
        f"Written by `cargo vlhub test --peers models` (tests/peers/models.py; open_clip {open_clip.__version__}, timm {timm.__version__}, "
        f"transformers {transformers.__version__}, torch {torch.__version__}; fp32 on the CPU). The error is the largest of image and text: the norm of the "
        f"difference of unit-length embeddings over the norm of the reference's; `done` is at most {BOUND:.0e}.", "",
        f"{sum(name in theirs for name in done)} of open_clip 3.3.0's {len(theirs)} configs and {sum(name not in theirs for name in done)} of "
        f"penfever/vlhub's {len(configs()) - len(theirs)} others are done.", "",
        "| model | error | status | note |", "| --- | --- | --- | --- |",
    ]
    TABLE.write_text("\n".join(head + ["| " + " | ".join(rows[name]) + " |" for name in sorted(rows, key=natural)]) + "\n")


def main():
    torch.set_num_threads(2)
    all_configs = configs()
    theirs = set(json.loads((HERE / "../../host/src/models/open_clip.json").read_text()))
    rows = {name: row for name, row in read().items() if name in all_configs}
    pattern = os.environ.get("VLHUB_MODELS", "*")
    names = [name for name in sorted(all_configs, key=natural) if (rows.get(name, [""] * 4)[2] != "done" if pattern == "new" else fnmatch.fnmatch(name, pattern))]
    failed = []
    for name in names:
        start = time.time()
        try:
            with tempfile.TemporaryDirectory() as folder:
                error, note = one(name, all_configs[name], Path(folder))
            status = "done" if error <= BOUND else "failed"
            rows[name] = [name, f"{error:.1e}", status, note]
        except Exception as why:  # noqa: BLE001 - one model must not stop the others
            ours = "needs parts" in str(why) or "no backbone is called" in str(why)
            status = "refused" if ours or isinstance(why, Refused) else "failed"
            rows[name] = [name, "-", status, str(why).replace("|", "/").replace("\n", " ")[:160]]
        gc.collect()
        if rows[name][2] == "failed":
            failed.append(name)
        print(f"{rows[name][2]:8} {name}: {rows[name][1]} {rows[name][3]} ({time.time() - start:.0f} s)", flush=True)
        write(rows, theirs)
    sys.exit(f"failed: {' '.join(failed)}" if failed else 0)


main()
