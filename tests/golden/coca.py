"""Writes what open_clip's CoCa computes: the decoder's logits, the captioning loss with its gradients, and generated captions.

Usage: python coca.py
The towers are replaced by tables of known numbers, so that a case tests the decoder, the loss and the search alone. Generation needs
transformers 4: later ones have no BeamSearchScorer, without which open_clip generates nothing.
"""

import json
import os

import open_clip
import torch
import transformers
from open_clip.coca_model import CoCa, MultimodalCfg
from open_clip.loss import CoCaLoss
from open_clip.model import CLIPTextCfg, CLIPVisionCfg

import known

torch.set_num_threads(1)
ROWS, PATCHES, LENGTH, WIDTH, VOCAB, CONTEXT = 4, 5, 9, 16, 40, 12
START, END = 38, 39


def table(name, shape, scale=1.0):
    count = 1
    for size in shape:
        count *= size
    return torch.tensor((known.numbers(name, count) * scale).astype("float32")).reshape(shape)


class Images(torch.nn.Module):
    """The image of a number: known tokens."""

    def __init__(self):
        super().__init__()
        self.tokens = table("images", (ROWS, PATCHES, WIDTH), 2.0)

    def forward(self, image):
        row = image[:, 0, 0, 0].long()
        return torch.ones(len(row), 8), self.tokens[row]


class Texts(torch.nn.Module):
    """A vector for each id and one for each place."""

    def __init__(self):
        super().__init__()
        self.ids, self.places = table("ids", (VOCAB, WIDTH), 2.0), table("places", (CONTEXT, WIDTH), 2.0)

    def forward(self, ids):
        return torch.ones(len(ids), 8), self.ids[ids] + self.places[: ids.shape[1]]


def model(quick_gelu=False):
    cfg = MultimodalCfg(context_length=CONTEXT, vocab_size=VOCAB, width=WIDTH, heads=2, layers=2)
    text = CLIPTextCfg(context_length=CONTEXT, vocab_size=VOCAB, width=WIDTH, heads=2, layers=1, embed_cls=True, output_tokens=True)
    vision = CLIPVisionCfg(image_size=8, patch_size=4, width=WIDTH, head_width=8, layers=1, output_tokens=True)
    made = CoCa(8, cfg, text, vision, quick_gelu=quick_gelu)
    made.visual, made.text = Images(), Texts()
    made.text_decoder = known.fill(known.under("text_decoder", made.text_decoder)).text_decoder
    return made.eval()


def loss(quick_gelu):
    made = model(quick_gelu)
    images = table("images", (ROWS, PATCHES, WIDTH), 2.0).requires_grad_()
    texts = table("texts", (ROWS, LENGTH, WIDTH), 2.0).requires_grad_()
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    for row, length in enumerate([9, 4, 6, 2]):
        drawn = 1 + ((known.numbers(f"row {row}", length) + 1) / 2 * (END - 2)).astype("int64")
        ids[row, :length] = torch.tensor(drawn)
        ids[row, 0], ids[row, length - 1] = START, END
    logits = made.text_decoder(images, texts[:, :-1])
    _, total = CoCaLoss(caption_loss_weight=1.0, clip_loss_weight=0.0)(None, None, logits, ids[:, 1:], None)
    total.backward()
    decoder = made.text_decoder
    gradients = {f"text_decoder.{name}": p.grad.double().norm().item() for name, p in decoder.named_parameters()}
    return {
        "options": {"layers": 2, "heads": 2, "quick_gelu": quick_gelu},
        "parameters": {f"text_decoder.{name}": list(t.shape) for name, t in decoder.state_dict().items()},
        "ids": ids.tolist(),
        "loss": total.item(),
        "logits": known.listed(logits[:2, :3]),
        "gradients": gradients,
        "image_gradient": known.listed(images.grad[0]),
        "text_gradient": known.listed(texts.grad[1]),
    }


def generated(end, **settings):
    made = model()
    image = torch.arange(ROWS).float().reshape(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    ids = made.generate(image, sot_token_id=START, eos_token_id=end, pad_token_id=0, **settings)
    return {"end": end, "settings": settings, "ids": ids.tolist()}


def main():
    cases = []
    for end in (27, 32, 11):
        for length, least in ((12, 3), (8, 0)):
            common = {"seq_len": length, "min_seq_len": least}
            for penalty in (1.0, 1.6):
                cases.append(generated(end, generation_type="top_k", top_k=1, repetition_penalty=penalty, **common))
            for beams, groups in ((6, 3), (2, 1), (4, 1), (6, 2)):
                for penalty in (1.0, 1.3) if beams == 4 else (1.0,):
                    named = {"num_beams": beams, "num_beam_groups": groups, "repetition_penalty": penalty}
                    cases.append(generated(end, generation_type="beam_search", **named, **common))
    wrote = f"open_clip {open_clip.__version__}, torch {torch.__version__}, transformers {transformers.__version__}"
    out = {"written_by": f"coca.py, {wrote}", "loss": [loss(False), loss(True)], "generated": cases}
    path = os.path.splitext(__file__)[0] + ".json"
    with open(path, "w") as file:
        file.write(json.dumps(out).replace('{"end"', '\n{"end"') + "\n")
    print(path, os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
