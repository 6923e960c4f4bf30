"""Golden numbers of CLIP's ResNet, from open_clip's `ModifiedResNet`."""

import known
import open_clip
import torch
from open_clip.modified_resnet import ModifiedResNet

torch.set_num_threads(1)
torch.manual_seed(0)


def case(image_size, width, layers, heads, training=False):
    model = ModifiedResNet(layers, 24, heads, image_size, width)

    def last_map(x):
        return model.layer4(model.layer3(model.layer2(model.layer1(model.stem(x)))))

    def pooled(x):
        # With the identity for its projection, the pool gives what comes before the projection.
        model.attnpool.c_proj = torch.nn.Linear(32 * width, 32 * width)
        with torch.no_grad():
            model.attnpool.c_proj.weight.copy_(torch.eye(32 * width))
            model.attnpool.c_proj.bias.zero_()
        return model(x)

    options = {"image_size": image_size, "width": width, "layers": layers, "heads": heads}
    tokens = None if training else (lambda x: last_map(x).flatten(2).transpose(1, 2))
    return known.record(model, known.pictures(2, image_size), options, pooled, tokens, training)


known.write(
    __file__,
    {
        "modified_resnet/odd": case(96, 4, [1, 2, 1, 2], 2),
        "modified_resnet/even": case(64, 6, [2, 1, 2, 1], 6),
        "modified_resnet/training": case(64, 4, [1, 1, 1, 1], 4, training=True),
    },
    "open_clip " + open_clip.__version__,
)
