"""What open_clip's locking leaves to train, for towers of every family and every number of open groups. Writes locks.json.

Each case names our plugin with its options, the parameters of the tower as we name them, and for each number of open groups those that stay open.
"""

import json
from pathlib import Path

import open_clip
import timm
import torch
import transformers
from open_clip.hf_model import HFTextEncoder
from open_clip.model import _build_vision_tower
from open_clip.timm_model import TimmModel
from open_clip.transformer import TextTransformer
from timm.models._manipulate import group_parameters

cases = []


def add(plugin, options, make, groups, lock):
    opened = {}
    for unlocked in range(groups + 1):
        model = make()
        lock(model, unlocked)
        # Our names end where the layer does: `bn1` and `bn1.weight` are open together in all of these.
        opened[unlocked] = sorted(name for name, tensor in model.named_parameters() if tensor.requires_grad)
    everything = sorted(name for name, _ in make().named_parameters())
    # What is open is told by its difference to one more locked group.
    cases.append({"plugin": plugin, "options": options, "parameters": len(everything), "open": opened})


def native(width, layers):
    return lambda: _build_vision_tower(8, {"image_size": 16, "patch_size": 8, "width": width, "layers": layers, "head_width": 8})


add("vit", {"image_size": 16, "patch_size": 8, "width": 16, "layers": 3, "heads": 2}, native(16, 3), 5, lambda model, n: model.lock(unlocked_groups=n))
add("text_transformer", {"context": 8, "vocab": 20, "width": 16, "layers": 3, "heads": 2},
    lambda: TextTransformer(context_length=8, vocab_size=20, width=16, heads=2, layers=3, output_dim=8), 5, lambda model, n: model.lock(n))

# timm's own small networks, so that every family's matcher is asked.
for plugin, size in [
    ("resnet18", 64), ("resnetv2_50", 64), ("regnetx_002", 64), ("regnety_002", 64), ("nf_regnet_b1", 64), ("convnext_atto", 64), ("efficientnet_b0", 64),
    ("vit_tiny_patch16_224", 224), ("deit3_small_patch16_224", 224), ("beit_base_patch16_224", 224), ("eva02_tiny_patch14_224", 224),
    ("swin_tiny_patch4_window7_224", 224), ("swinv2_tiny_window8_256", 256), ("maxvit_tiny_tf_224", 224), ("gcvit_xxtiny", 224), ("coat_lite_tiny", 224),
    ("resmlp_12_224", 224), ("vitamin_small_224", 224), ("fastvit_t8", 256), ("vit_relpos_small_patch16_224", 224),
]:
    def make(plugin=plugin):
        with torch.device("meta"):
            return TimmModel(plugin, embed_dim=8, image_size=None, pool="", proj="linear", pretrained=False)

    groups = max(group_parameters(make().trunk, make().trunk.group_matcher()).keys())
    try:
        add(plugin, {}, make, groups, lambda model, n: model.lock(unlocked_groups=n))
    except Exception as why:
        print(plugin, "left out:", type(why).__name__, why)


# The partial lock of open_clip's BERT fails on a name that its table lacks; RoBERTa's works.
config = transformers.RobertaConfig(vocab_size=30, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, max_position_embeddings=16)
transformers.AutoConfig.from_pretrained = lambda *_, **__: config
add("roberta_base", {"vocab": 30, "width": 16, "layers": 3, "heads": 2, "context": 8, "proj": "linear"},
    lambda: HFTextEncoder("roberta", 8, pooler_type="mean_pooler", proj_type="linear", pretrained=False), 3, lambda model, n: model.lock(n))

# Names repeat; each case keeps only what each further open group adds.
for case in cases:
    steps, before = [], set()
    for unlocked, names in sorted(case["open"].items()):
        steps.append(sorted(set(names) - before) if set(names) >= before else None)
        before = set(names)
    case["open"] = steps
path = Path(__file__).with_suffix(".json")
origin = f"locks.py, open_clip {open_clip.__version__}, timm {timm.__version__}"
path.write_text(json.dumps({"origin": origin, "cases": cases}, indent=None, separators=(",", ":")).replace('{"plugin"', '\n{"plugin"') + "\n")
print(path, path.stat().st_size, "bytes", [(c["plugin"], len(c["open"])) for c in cases])
