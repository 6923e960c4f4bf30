#!/usr/bin/env bash
# TensorBoard's HPARAMS tab has the columns of one run, where every run says which options it has.
#
# Guess:    three runs below one folder, each with its options as `SummaryWriter.add_hparams` writes them (`_hparams_/experiment`, then
#           `_hparams_/session_start_info`): the tab has a column for every option that any of them has.
# Seen:     the columns are those of one run, whichever the server lists first. What the others have besides is loaded and never shown. Runs
#           that write no `_hparams_/experiment` have all columns together.
# Versions: tensorboard 2.21.0, protobuf 7.36.2.
# Hurts:    comparisons of runs with other optimisers, objectives or schedules, through PyTorch's `SummaryWriter.add_hparams`.
# VL Hub:   writes how a run started and ended, and no experiment.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet tensorboard==2.21.0 protobuf==7.36.2 || exit 2
cd "$work" && venv/bin/python - <<'PY'
import json
import socket
import subprocess
import sys
import time
import urllib.request

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter


def write(folder, options, experiment):
    writer = EventFileWriter(folder)

    def add(tag, **data):
        about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**data))
        value = summary_pb2.Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)
        writer.add_event(event_pb2.Event(summary=summary_pb2.Summary(value=[value]), wall_time=time.time()))

    if experiment:
        infos = [api_pb2.HParamInfo(name=name, type=api_pb2.DATA_TYPE_FLOAT64) for name in options]
        add(metadata.EXPERIMENT_TAG, experiment=api_pb2.Experiment(hparam_infos=infos))
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for name, value in options.items():
        start.hparams[name].number_value = value
    add(metadata.SESSION_START_INFO_TAG, session_start_info=start)
    add(metadata.SESSION_END_INFO_TAG, session_end_info=plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS))
    writer.close()


def shown(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--port", str(port)], stderr=subprocess.DEVNULL)
    request = urllib.request.Request(f"http://127.0.0.1:{port}/data/plugin/hparams/experiment", b"{}", {"Content-Type": "application/json"})
    try:
        for _ in range(120):
            time.sleep(0.5)
            try:
                infos = json.load(urllib.request.urlopen(request)).get("hparamInfos")
            except OSError:
                continue
            if infos:
                # What is read later comes with the next reload.
                time.sleep(8)
                return sorted(info["name"] for info in json.load(urllib.request.urlopen(request))["hparamInfos"])
        sys.exit(2)
    finally:
        server.terminate()
        server.wait()


runs = {"a": {"lr": 0.1}, "b": {"lr": 0.2, "warmup": 5}, "c": {"lr": 0.2, "decay": 5}}
for experiment in [True, False]:
    for name, options in runs.items():
        write(f"{experiment}/{name}", options, experiment)
with_experiment, without = shown("True"), shown("False")
print("each run says its columns:", with_experiment)
print("no run does:", without)
as_stated = with_experiment in [sorted(options) for options in runs.values()] and without == ["decay", "lr", "warmup"]
sys.exit(0 if as_stated else 1)
PY
