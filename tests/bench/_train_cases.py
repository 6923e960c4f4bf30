"""What train.py trains on both sides: the cases, and the run file of ours."""

from dataclasses import dataclass

from _program import ONE_STEP


@dataclass(frozen=True)
class Case:
    # What is trained, and how the other side is built: a key of `OBJECTIVES` and a function in _train_peers.py.
    kind: str
    # open_clip's name, or timm's.
    model: str
    rows: int
    # How often open_clip's (lightly's, timm's) eager and compiled step should take as long as ours.
    eager: float | None = None
    compiled: float | None = None
    # Least and most words of a caption; start and end come on top. Names and short captions have 10 to 18 tokens.
    words: tuple = (8, 16)


CASES = {
    "ViT-B-32": Case("clip", "ViT-B-32", 32, 2.0, 1.4),
    "ViT-B-32, 77 tokens": Case("clip", "ViT-B-32", 32, 1.15, words=(90, 90)),
    "ViT-B-16": Case("clip", "ViT-B-16", 16, 1.2),
    "RN50": Case("clip", "RN50", 16, 1.4),
    "SigLIP, ViT-B-16": Case("siglip", "ViT-B-16-SigLIP", 16, 1.1),
    "CoCa, ViT-B-32": Case("coca", "coca_ViT-B-32", 16, 1.3),
    "SimCLR, ViT-B-32": Case("simclr", "ViT-B-32", 16, 1.2),
    "supervised, ViT-B-32": Case("classify", "vit_base_patch32_224", 32),
}
PEERS = {"clip": "open_clip", "siglip": "open_clip", "coca": "open_clip", "simclr": "lightly on open_clip's tower", "classify": "timm"}

# `tower.json`: ViT-B-32's image tower without a text tower.
TOWER = '{"embed_dim": 512, "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32}}'
HALF = "mean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n"
# The views of SimCLR are the picture and its solarised self, so that both sides read the same pixels. The head is that of SLIP.
OBJECTIVES = {
    "clip": "[objective.clip]\n",
    # SigLIP's published tokenizer is a download, so both sides get ids of a vocabulary of words; the towers read all 64 places all the same.
    "siglip": f'[tokenizer]\nuse = "tokenizer.json"\n[preprocess]\nresize_mode = "squash"\n{HALF}[objective.siglip]\n',
    "coca": "[objective.clip]\n[objective.caption]\nweight = 2.0\n",
    "simclr": '[view.image.a]\naugment = []\n[view.image.b]\naugment = [{ use = "solarize", p = 1.0 }]\n[objective.simclr]\non = "embed"\n',
    "classify": f"[preprocess]\n{HALF}[objective.classify]\nclasses = 1000\nlabel_smoothing = 0.1\n",
}
DATA = '[data.train]\nuse = "csv"\npath = "train.tsv"\n'


def towers(case):
    if case.kind == "classify":
        return f'embed = 768\n[backbone.image]\nuse = "{case.model}"\nproj = "none"\n'
    return 'model = "tower.json"\n' if case.kind == "simclr" else f'model = "{case.model}"\n'


def run_file(case):
    labels = 'label_key = "label"\n' if case.kind == "classify" else ""
    top = 'name = "run"\npretrained = "start.safetensors"\n'
    return f"{top}{towers(case)}{DATA}{labels}{OBJECTIVES[case.kind]}{ONE_STEP}batch = {case.rows}\n"
