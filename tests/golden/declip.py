"""Writes declip.json: DeCLIP's own losses and their gradients, and x-clip's loss of masked words.

DeCLIP cannot be installed; its model and losses are run from a checkout of Sense-GVT/DeCLIP (5d99a85), in one process. The encoders are
tables of known numbers, so that a case tests what comes behind them. Everything is computed in double precision, but for the queue of
texts, which DeCLIP keeps in single. lightly must agree about the cosines and the nearest neighbours.

Needs an environment with torch, timm, x-clip and lightly: python tests/golden/declip.py DECLIP
"""

import importlib.metadata
import importlib.util
import json
import math
import os
import sys
import types
from unittest import mock

import torch
import torch.nn.functional as F
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import NNMemoryBankModule
from x_clip import mlm as x_clip_mlm

import known

torch.set_num_threads(1)
ROWS, WIDTH, LENGTH, VOCAB, HIDDEN, BOTTLENECK, QUEUE = 5, 8, 7, 20, 12, 6, 16
MASK, START, END = 2, 18, 19


def table(name, *shape):
    return torch.tensor(known.numbers(name, math.prod(shape)).astype("float32")).reshape(shape).double().requires_grad_()


def one_process():
    """linklink where there is one process."""
    link = mock.MagicMock()
    link.get_rank.return_value, link.get_world_size.return_value = 0, 1
    link.allgather = lambda parts, tensor: parts[0].copy_(tensor)
    return link


def declip(checkout):
    """The modules model/declip.py and loss_functions/loss.py, without encoders, other processes and a GPU."""
    model = os.path.join(checkout, "prototype/model")
    package = types.ModuleType("declip_model")
    package.__path__ = [model]
    encoders = [f"image_encoder.{name}" for name in ("visual_transformer", "modified_resnet")] + ["text_encoder.text_transformer"]
    absent = {f"declip_model.{name}": mock.MagicMock() for name in ["image_encoder", "text_encoder", *encoders]}
    absent |= {"ipdb": mock.MagicMock(), "linklink": one_process(), "linklink.nn": mock.MagicMock(), "textaugment": mock.MagicMock()}
    sys.modules |= absent | {"declip_model": package}
    torch.Tensor.cuda = lambda self: self
    spec = importlib.util.spec_from_file_location("declip_loss", os.path.join(checkout, "prototype/loss_functions/loss.py"))
    loss = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loss)
    return importlib.import_module("declip_model.declip"), importlib.import_module("declip_model.utils.text_utils.mask_tokens"), loss


class Images(torch.nn.Module):
    """The features of the view whose number the pixels show."""

    def forward(self, image):
        return self.views[int(image[0, 0, 0, 0])]


class Texts(torch.nn.Module):
    """Features of the texts and of the augmented ones; tokens and labels of the masked ones."""

    def __init__(self):
        super().__init__()
        self.text_projection, self.vocab_size, self.text_encode_type = torch.nn.Linear(WIDTH, WIDTH, bias=False), VOCAB, "Transformer"

    def forward(self, texts, mask_type=None):
        return (self.views[0], self.tokens, self.labels) if mask_type else self.views[1]


def filled(module, names):
    """Gives the parameters of a module the values that ours have by their names."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            where, kind = name.rsplit(".", 1)
            parameter.copy_(known.value(f"objective.{names[where]}.{kind}", tuple(parameter.shape)))
    return {f"objective.{names[name.rsplit('.', 1)[0]]}.{name.rsplit('.', 1)[1]}": p for name, p in module.named_parameters()}


def ours(prefix, maps, norms):
    named = {name: f"{prefix}.linears.{at}" for at, name in enumerate(maps)}
    return named | {name: f"{prefix}.norms.{at}" for at, name in enumerate(norms)}


def gradients(loss, leaves):
    found = torch.autograd.grad(loss, list(leaves.values()), retain_graph=True)
    return {name: known.listed(grad) for name, grad in zip(leaves, found)}


def built(reference):
    model = reference.DECLIP(Images(), Texts(), True, nn_size=QUEUE, return_nn_bank=True, text_mask_type="MLM", feature_dim=WIDTH)
    # Its sizes are fixed at 1024 and 512.
    model.projector = reference.projection_MLP(WIDTH, HIDDEN, HIDDEN)
    model.predictor = reference.prediction_MLP(HIDDEN, BOTTLENECK, HIDDEN)
    return model.double().train()


def inputs(model, step):
    model.visual.views = [table(f"image {view} {step}", ROWS, WIDTH) for view in "ab"]
    if step == 2:
        # The texts of the step before, nearly: their neighbours are what the queue kept of those.
        texts = [F.normalize(text.detach(), dim=-1) for text in model.encode_text.views]
        texts = [(text + 0.05 * table(f"text {view} 2", ROWS, WIDTH).detach()).requires_grad_() for text, view in zip(texts, "ab")]
        model.encode_text.views = texts
    else:
        model.encode_text.views = [table(f"text {view} {step}", ROWS, WIDTH) for view in "ab"]
    images = torch.cat([torch.full((ROWS, 3, 1, 1), float(view)) for view in (0, 1)], 1)
    return {"images": images, "captions": [["a text"]] * ROWS}


def masked_words(model, masking):
    """Token ids of several lengths, masked by DeCLIP."""
    torch.manual_seed(3)
    ids, labels = torch.zeros(ROWS, LENGTH, dtype=torch.long), torch.full((ROWS, LENGTH), -100)
    for row, length in enumerate([7, 5, 6, 3, 7]):
        words = torch.randint(3, START, (length - 2,))
        text = torch.cat([torch.tensor([START]), words, torch.tensor([END])])
        ids[row, :length], labels[row, :length] = masking.mask_tokens(
            text, special_tokens=[START, END, MASK], mask_token=MASK, tokenizer_length=VOCAB, mlm_probability=0.4
        )
    model.encode_text.tokens, model.encode_text.labels = table("tokens", ROWS, LENGTH, WIDTH), labels
    return labels


def mlm(out, model, labels):
    leaves = {"tokens": model.encode_text.tokens} | {
        f"objective.logits.{name}": p for name, p in model.text_label_predictor.named_parameters()
    }
    loss = out["text_self_supervised"]
    labels = torch.where(labels == -100, -1, labels)
    return {"name": "DeCLIP", "labels": labels.tolist(), "loss": loss.item(), "gradients": gradients(loss, leaves)}


def mlm_of_x_clip():
    torch.manual_seed(5)
    tokens = table("tokens", ROWS, LENGTH, WIDTH)
    # x-clip's own encoder puts a class token in front, whose logits are dropped.
    encoder = lambda ids: torch.cat([torch.zeros(ROWS, 1, WIDTH), tokens], 1).double()  # noqa: E731
    module = x_clip_mlm.MLM(encoder, dim=WIDTH, num_tokens=VOCAB, mask_prob=0.4, random_token_prob=0.1).double()
    with torch.no_grad():
        for name, parameter in module.to_logits.named_parameters():
            parameter.copy_(known.value(f"objective.logits.{name}", tuple(parameter.shape)))
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    for row, length in enumerate([7, 5, 6, 3, 7]):
        ids[row, :length] = torch.randint(3, VOCAB, (length,))
    with mock.patch.object(x_clip_mlm.F, "cross_entropy", wraps=F.cross_entropy) as called:
        loss = module(ids)
    labels = called.call_args.args[1]
    leaves = {"tokens": tokens} | {f"objective.logits.{name}": p for name, p in module.to_logits.named_parameters()}
    return {
        "name": "x-clip",
        "labels": torch.where(labels == 0, -1, labels).tolist(),
        "loss": loss.item(),
        "gradients": gradients(loss, leaves),
    }


def simsiam(out, model, parameters, loss):
    p1, p2, z1, z2 = out["simsiam_features"]
    total = loss.SimsiamLoss()(p1, z1, p2, z2)
    cosine = NegativeCosineSimilarity()
    assert abs(total - (cosine(p1, z2.detach()) + cosine(p2, z1.detach())) / 2) < 1e-12
    leaves = dict(zip(["a", "b"], model.visual.views)) | parameters
    options = {"hidden": HIDDEN, "out": HIDDEN, "bottleneck": BOTTLENECK}
    return {"options": options, "loss": total.item(), "gradients": gradients(total, leaves)}


def wrapping(bank, batch):
    """What DeCLIP's queue does, without losing what does not fit behind its last place."""
    places = (int(bank.bank_ptr) + torch.arange(len(batch))) % bank.size
    bank.bank[:, places] = batch.T
    bank.bank_ptr[0] = (int(bank.bank_ptr) + len(batch)) % bank.size


def nearest(reference, loss, texts, keeps):
    """Three steps, of which the second one goes beyond the end of the queue."""
    model = built(reference)
    model.encode_text.tokens, model.encode_text.labels = texts
    bank, steps = model.nn_replacer_text, []
    bank.bank = F.normalize(table("queue", QUEUE, WIDTH).detach().float(), dim=-1).T.contiguous()
    bank.bank_ptr = torch.LongTensor([0])
    if keeps:
        bank._dequeue_and_enqueue = lambda batch: wrapping(bank, batch)
    for step in range(3):
        batch = inputs(model, step)
        lightly = NNMemoryBankModule(size=(QUEUE, WIDTH))
        lightly.bank.copy_(bank.bank.T)
        for text in model.encode_text.views:
            unit = F.normalize(text.detach().float(), dim=-1)
            assert torch.equal(lightly(unit), bank(unit)[0])
        first, second, first_aug, second_aug = model(batch, return_dict=True)["nn_text_logits"]
        criterion = loss.ClipInfoCELoss()
        total = (criterion(first, first_aug)[0] + criterion(second, second_aug)[0]) / 2
        leaves = dict(zip(["main", "alt"], model.visual.views)) | {"logit_scale": model.logit_scale}
        named = {"texts": [known.listed(text) for text in model.encode_text.views], "loss": total.item()}
        steps.append(named | {"gradients": gradients(total, leaves), "queue": known.listed(bank.bank.T), "position": int(bank.bank_ptr)})
    return steps


def main():
    reference, masking, loss = declip(sys.argv[1])
    model = built(reference)
    parameters = filled(model.projector, ours("projector", ["linear1", "linear2", "linear3"], ["bn1", "bn2", "bn3"]))
    parameters |= filled(model.predictor, ours("predictor", ["linear1", "layer2"], ["bn1"]))
    with torch.no_grad():
        for name, parameter in model.text_label_predictor.named_parameters():
            parameter.copy_(known.value(f"objective.logits.{name}", tuple(parameter.shape)))
    labels = masked_words(model, masking)
    out = model(inputs(model, 0), return_dict=True)
    texts = (model.encode_text.tokens.detach(), labels)
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "x-clip", "lightly"))
    golden = {
        "origin": f"tests/golden/declip.py, Sense-GVT/DeCLIP 5d99a85, {packages}",
        "simsiam": simsiam(out, model, parameters, loss),
        "mlm": [mlm(out, model, labels), mlm_of_x_clip()],
        "nearest": {"declip": nearest(reference, loss, texts, False), "keeps": nearest(reference, loss, texts, True)},
    }
    path = os.path.splitext(__file__)[0] + ".json"
    with open(path, "w") as file:
        file.write(json.dumps(golden).replace('"gradients"', '\n"gradients"') + "\n")
    print(path, os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
