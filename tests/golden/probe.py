"""Writes probe.json: linear probes and nearest neighbours of scikit-learn, nearest neighbours of lightly, on random features.

Run in an environment with torch, scikit-learn and lightly: python tests/golden/probe.py
"""
import importlib.metadata
import json
import pathlib

import numpy as np
import torch
from lightly.utils.benchmarking import knn_predict
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

torch.set_num_threads(1)
random = np.random.default_rng(0)
L2 = [1e-4, 1e-3, 1e-1, 10.0]

CASES = [
    # name, pictures to learn from and to measure, width, classes, classes that do not occur in `train`, l2, standardise
    ("plain", 70, 30, 6, 4, [], 1e-2, False),
    ("standardised", 70, 30, 6, 4, [], 1e-2, True),
    ("strong", 70, 30, 6, 4, [], 10.0, True),
    ("weak", 60, 20, 5, 3, [], 1e-6, True),
    ("more features than pictures", 20, 20, 30, 4, [], 1e-3, True),
    ("two classes", 50, 20, 4, 2, [], 1e-2, True),
    ("absent classes", 50, 40, 5, 6, [0, 3], 1e-2, True),
]


def draw(rows, width, classes, absent, centres):
    """Rounded, so that both sides read the same numbers; features of different scales, the last of which is constant."""
    labels = random.choice([c for c in range(classes) if c not in absent], rows)
    features = (0.7 * centres[labels] + random.normal(size=(rows, width))) * np.logspace(-1, 1, width) + 0.5
    features[:, -1] = 3.1
    return np.round(features, 3).astype(np.float32).astype(np.float64), labels


def fit(features, labels, l2):
    """scikit-learn's C weighs the sum of the losses; with two classes it has one vector, which is the difference of ours."""
    count, classes = len(labels), len(set(labels))
    c = 1 / (l2 * count) * (2 if classes == 2 else 1)
    model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(features, labels)
    wrong = model.predict_proba(features) - (labels[:, None] == model.classes_)
    wrong = wrong[:, 1:] if classes == 2 else wrong
    gradient = wrong.T @ features / count + model.coef_ / (c * count)
    assert max(abs(gradient).max(), abs(wrong.mean(0)).max()) < 1e-8, "scikit-learn has not found the minimum"
    return model


def loss(model, features, labels, l2):
    right = model.predict_log_proba(features)[np.arange(len(labels)), np.searchsorted(model.classes_, labels)]
    square = (model.coef_**2).sum() / (2 if len(model.classes_) == 2 else 1)
    return -right.mean() + l2 / 2 * square


def scaled(standardise, train, *others):
    if not standardise:
        return train, *others
    scaler = StandardScaler().fit(train)
    return tuple(scaler.transform(part) for part in (train, *others))


def metrics(model, features, labels, classes, ks):
    """Log-probabilities of all classes; one that was never seen is the least likely."""
    scores = np.full((len(labels), classes), -1e9)
    scores[:, model.classes_] = model.predict_log_proba(features)
    # Of equal ones, which only classes that were never seen are, the lower index comes first; scikit-learn's top_k_accuracy_score takes the
    # higher, and refuses two classes.
    order = np.argsort(-scores, axis=1, kind="stable")
    return {
        **{f"top{k}": float((order[:, :k] == labels[:, None]).any(1).mean()) for k in ks},
        "mean_per_class_recall": float(balanced_accuracy_score(labels, model.predict(features))),
    }


def logistic(name, rows, asked, width, classes, absent, l2, standardise):
    centres = random.normal(size=(classes, width))
    (train, labels), (data, answers) = draw(rows, width, classes, absent, centres), draw(asked, width, classes, [], centres)
    learn, test = scaled(standardise, train, data)
    model = fit(learn, labels, l2)
    return {
        "name": name, "classes": classes, "l2": l2, "standardise": standardise,
        "train": train.tolist(), "train_labels": labels.tolist(), "data": data.tolist(), "data_labels": answers.tolist(),
        "loss": float(loss(model, learn, labels, l2)),
        "present": model.classes_.tolist(),
        "log_probabilities": np.round(model.predict_log_proba(test), 9).tolist(),
        "metrics": metrics(model, test, answers, classes, [1, 2, 5]),
    }


def chosen():
    """The held-out fifth is every fifth picture in the order of classes; of equally good l2 the strongest is taken."""
    width, classes = 8, 5
    centres = random.normal(size=(classes, width))
    (train, labels), (data, answers) = draw(120, width, classes, [], centres), draw(40, width, classes, [], centres)
    order = np.argsort(labels, kind="stable")
    out = order[4::5]
    fitted = np.setdiff1d(order, out)
    learn, held = scaled(True, train[fitted], train[out])
    right = [int((fit(learn, labels[fitted], l2).predict(held) == labels[out]).sum()) for l2 in L2]
    best = max(l2 for l2, count in zip(L2, right) if count == max(right))
    learn, test = scaled(True, train, data)
    return {
        "classes": classes, "l2": L2, "right": right, "held_out": len(out), "best": best,
        "train": train.tolist(), "train_labels": labels.tolist(), "data": data.tolist(), "data_labels": answers.tolist(),
        "metrics": metrics(fit(learn, labels, best), test, answers, classes, [1, 5]),
    }


def neighbours():
    width, classes = 5, 4
    centres = random.normal(size=(classes, width))
    (train, labels), (data, answers) = draw(60, width, classes, [], centres), draw(25, width, classes, [], centres)
    unit = lambda rows: torch.nn.functional.normalize(torch.tensor(rows), dim=1)
    cases = []
    for k, temperature in [(1, 0.07), (20, 0.07), (60, 0.5), (20, 0.0), (7, 0.0)]:
        weights = "uniform" if temperature == 0 else lambda distance, t=temperature: np.exp((1 - distance) / t)
        model = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=weights).fit(train, labels)
        case = {"k": k, "temperature": temperature, "shares": np.round(model.predict_proba(data), 9).tolist()}
        if temperature > 0:
            found = knn_predict(unit(data), unit(train).T.contiguous(), torch.tensor(labels), classes, k, temperature)
            case["lightly"] = found[:, 0].tolist()
        cases.append(case)
    return {
        "classes": classes, "cases": cases,
        "train": train.tolist(), "train_labels": labels.tolist(), "data": data.tolist(), "data_labels": answers.tolist(),
    }


versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("scikit-learn", "lightly", "torch"))
golden = {
    "origin": f"tests/golden/probe.py, {versions}",
    "logistic": [logistic(*case) for case in CASES],
    "chosen": chosen(),
    "neighbours": neighbours(),
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=None).replace("}, {", "},\n{") + "\n")
