"""Reads a run's event files with TensorBoard and compares them with `metrics.jsonl`.

usage: events.py [RUN_DIR [TAG...]]
RUN_DIR: a run's folder; without it, a small run is trained, stopped and resumed with the program that VLHUB_BIN names.
TAG: further tags that must be there, such as `val/zeroshot-top1`. Needs `tensorboard`; exit status 1 names what is wrong.
"""

import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

logging.getLogger("tensorboard").setLevel(logging.ERROR)
OWN = {"loss": "loss", "lr": "lr", "data_time": "data_time", "batch_time": "batch_time", "samples_per_second": "samples_per_second"}


def main(run: pathlib.Path, wanted: list[str]) -> list[str]:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    tags = set(events.Tags()["scalars"])
    wrong = [f"tag `{tag}` is missing; there are: {' '.join(sorted(tags))}" for tag in wanted if tag not in tags]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    if not lines:
        return wrong + ["metrics.jsonl is empty"]
    curves = {name: {line["step"]: line[name] for line in lines} for name in OWN}
    for line in lines:
        for name, value in line["metrics"].items():
            curves.setdefault(name, {})[line["step"]] = value
    for name, curve in curves.items():
        tag = f"train/{name}"
        if tag not in tags:
            wrong.append(f"tag `{tag}` is missing")
            continue
        found = {event.step: event.value for event in events.Scalars(tag)}
        if sorted(found) != sorted(curve):
            wrong.append(f"`{tag}` has steps {sorted(found)[:5]}…, metrics.jsonl has {sorted(curve)[:5]}…")
        for step, value in curve.items():
            # Events hold single precision; a value that is not finite is null in JSON.
            if value is not None and abs(found.get(step, float("inf")) - value) > 1e-6 * max(1.0, abs(value)):
                wrong.append(f"`{tag}` at step {step} is {found.get(step)}, metrics.jsonl has {value}")
                break
    return wrong


def fresh(folder: pathlib.Path) -> pathlib.Path:
    """A run that is stopped after step 6 and resumed, so that what the first life wrote later must be purged."""
    file = """
        embed = 16
        backbone.image = { use = "vit", image_size = 16, width = 16, layers = 1, heads = 2 }
        backbone.text = { use = "text_transformer", context = 32, width = 16, layers = 1, heads = 2 }
        data.train = { use = "shapes", samples = 96, size = 16 }
        objective.clip = {}
        train = { batch = 16, steps = 12, save_every = 4, log_every = 1, torch_threads = 1 }
        eval.shapes = { use = "zeroshot", data = { use = "shapes", split = "held_out", samples = 24, size = 16 } }
    """
    (folder / "run.toml").write_text("\n".join(line.strip() for line in file.splitlines()))
    command = [os.environ["VLHUB_BIN"], "train", "run.toml", "name=run"]
    subprocess.run(command, cwd=folder, env=os.environ | {"VLHUB_FAILPOINT": "step-6=abort"}, capture_output=True)
    subprocess.run([*command, "--resume"], cwd=folder, check=True, capture_output=True)
    return folder / "logs/run"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        given = sys.argv[1:]
        run, wanted = (pathlib.Path(given[0]), given[1:]) if given else (fresh(pathlib.Path(folder)), ["val/shapes-top1", "train/clip_loss"])
        problems = main(run, wanted)
    print("\n".join(problems) or "ok")
    sys.exit(bool(problems))
