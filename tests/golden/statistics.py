"""Writes statistics.json: what SciPy and statsmodels find, for the tests of host/src/run/statistics.

usage: statistics.py   (scipy 1.17.1, statsmodels 0.14.5, numpy 2.4)
"""

import json
import pathlib

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

rng = np.random.default_rng(7)


def paired(rows: int, first: float, second: float, shared: float) -> dict:
    """Two models, right or wrong on the same samples; a share of the samples has the same outcome in both."""
    base = rng.random(rows)
    other = np.where(rng.random(rows) < shared, base, rng.random(rows))
    a, b = (base < first).astype(float), (other < second).astype(float)
    found = stats.bootstrap((b - a,), np.mean, n_resamples=20000, method="percentile", random_state=1)
    draws = found.bootstrap_distribution
    sides = min((draws <= 0).sum(), (draws >= 0).sum())
    only = [int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())]
    return {
        "first": a.astype(int).tolist(),
        "second": b.astype(int).tolist(),
        "difference": float((b - a).mean()),
        "interval": [float(found.confidence_interval.low), float(found.confidence_interval.high)],
        "p": float(min(1.0, 2 * (sides + 1) / (len(draws) + 1))),
        "t_test": float(stats.ttest_rel(a, b).pvalue),
        "only": only,
        "mcnemar": float(stats.binomtest(min(only), sum(only), 0.5).pvalue),
    }


def classes() -> dict:
    """Scores of samples in classes of unequal sizes; samples are drawn from all, and the means of the classes that were drawn are averaged."""
    sizes = [40, 10, 25]
    labels = np.repeat(np.arange(3), sizes)
    a, b = rng.random(75) ** 2, rng.random(75)
    groups = [np.flatnonzero(labels == at) for at in range(3)]
    mean = lambda values, rows: np.mean([values[r].mean() for r in rows])
    drawn = lambda rows: [own for at in range(3) if len(own := rows[labels[rows] == at])]
    draws = np.array([(lambda rows: mean(b, rows) - mean(a, rows))(drawn(rng.integers(75, size=75))) for _ in range(20000)])
    return {
        "labels": labels.tolist(),
        "first": a.tolist(),
        "second": b.tolist(),
        "difference": float(mean(b, groups) - mean(a, groups)),
        "interval": np.percentile(draws, [2.5, 97.5]).tolist(),
    }


def units() -> dict:
    """Scores of pictures with one to five rows each; a picture is drawn with all its rows."""
    sizes = 1 + np.arange(40) % 5
    of_row = np.repeat(np.arange(40), sizes)
    first = rng.random(40)[of_row] + 0.2 * rng.random(len(of_row))
    second = rng.random(40)[of_row] + 0.2 * rng.random(len(of_row))
    difference = second - first
    sums = np.bincount(of_row, difference)
    picked = rng.integers(40, size=(20000, 40))
    draws = sums[picked].sum(1) / sizes[picked].sum(1)
    return {
        "units": of_row.tolist(),
        "first": first.tolist(),
        "second": second.tolist(),
        "interval": np.percentile(draws, [2.5, 97.5]).tolist(),
    }


def line() -> dict:
    x = rng.uniform(0.3, 0.9, 12)
    logit = lambda p: np.log(p / (1 - p))
    y = 1 / (1 + np.exp(-(0.9 * logit(x) - 0.4 + 0.1 * rng.standard_normal(12))))
    found = stats.linregress(logit(x), logit(y))
    return {"pairs": list(zip(x.tolist(), y.tolist())), "slope": float(found.slope), "intercept": float(found.intercept)}


discordant = [(0, 0), (0, 1), (1, 5), (3, 9), (12, 30), (200, 260), (4000, 4100), (9, 9)]
p_values = [[0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.001], [0.9, 0.01, 0.02, 0.02, 0.7]]
out = {
    "paired": [paired(200, 0.6, 0.68, 0.7), paired(60, 0.5, 0.5, 0.5), paired(500, 0.7, 0.8, 0.9)],
    "classes": classes(),
    "mcnemar": [[a, b, float(stats.binomtest(min(a, b), a + b, 0.5).pvalue) if a + b else 1.0] for a, b in discordant],
    "holm": [[p, multipletests(p, method="holm")[1].tolist()] for p in p_values],
    "deviation": [[v, float(np.mean(v)), float(np.std(v, ddof=1))] for v in ([0.5, 0.6, 0.4], [0.1, 0.1], [3.0, 4.5, 9.25, 1.0])],
    "line": line(),
    "units": units(),
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
