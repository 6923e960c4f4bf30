"""A small ResMLP of timm. Writes timm_resmlp.json."""

import timm
import torch
from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock

import known

torch.set_num_threads(1)
sizes = {"img_size": 48, "patch_size": 16, "embed_dim": 24, "num_blocks": 3, "mlp_ratio": 3.0}
model = MlpMixer(num_classes=0, block_layer=ResBlock, norm_layer=Affine, **sizes)
options = {"image_size": 48, "patch_size": 16, "width": 24, "layers": 3, "mlp_ratio": 3.0}
x = known.pictures(2, 48)
cases = {"resmlp/plain": known.record(known.under("trunk", model), x, options, tokens=model.forward_features)}
known.write(__file__, cases, "timm " + timm.__version__)
