"""Reads a run's event files with TensorBoard and compares them with `metrics.jsonl`.

usage: events.py RUN_DIR [TAG...]
TAG: further tags that must be there, such as `val/zeroshot-top1`. Needs `tensorboard`; exit status 1 names what is wrong.
"""

import json
import logging
import pathlib
import sys

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


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    problems = main(pathlib.Path(sys.argv[1]), sys.argv[2:])
    print("\n".join(problems) or "ok")
    sys.exit(bool(problems))
