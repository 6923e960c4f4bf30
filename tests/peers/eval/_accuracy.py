"""CLIP_benchmark 1.6.2 computes top-k accuracy with a conversion that is an error since NumPy 2.4 (findings/clip_benchmark_numpy.sh). This is the
same number without it, in the place of theirs once this is imported.
"""

from clip_benchmark.metrics import zeroshot_classification


def accuracy(output, target, topk=(1,)):
    found = output.topk(max(topk), 1, True, True)[1]
    return [(found[:, :k] == target[:, None]).any(1).double().mean().item() for k in topk]


zeroshot_classification.accuracy = accuracy
