"""A run that was killed and resumed, read back with the tools that its loggers write for: TensorBoard, pandas, W&B and MLflow.

usage: loggers.py
Trains with the program that VLHUB_BIN names, once straight and once killed and resumed, and compares what each tool reads with `metrics.jsonl`
and `results.jsonl`: every step once, the same numbers, names such as `R@1`. An MLflow server runs on loopback, and so does a server that takes
what `wandb sync` sends. Makes an environment of its own for wandb and mlflow. Exit status 1 names what is wrong.
"""

import gzip
import http.server
import json
import logging
import math
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import venv
import zlib

PACKAGES = ["tensorboard==2.21.0", "pandas==3.1.1", "wandb==0.31.0", "mlflow==3.17.2"]
# What a step takes depends on the machine and the moment: MLflow keeps what it was sent first.
TIMES = {"data_time", "batch_time", "samples_per_second"}
RUN = """
embed = 16
backbone.image = { use = "vit", image_size = 16, width = 16, layers = 1, heads = 2 }
backbone.text = { use = "text_transformer", context = 32, width = 16, layers = 1, heads = 2 }
data.train = { use = "shapes", samples = 96, size = 16 }
objective.clip = {}
train = { batch = 16, steps = 12, save_every = 4, log_every = 1, torch_threads = 1 }
eval.shapes = { use = "zeroshot", every = "3 steps", data = { use = "shapes", split = "held_out", samples = 24, size = 16 } }
eval.pairs = { use = "retrieval", every = "4 steps", data = { use = "shapes", split = "held_out", samples = 24, size = 16 } }
"""
logging.getLogger("tensorboard").setLevel(logging.ERROR)
wrong = []


def check(holds, what):
    if not holds:
        wrong.append(what)


def same(found, wanted, what):
    """Numbers by step: the same steps, each once, and the same values. `found` is a list of (step, value)."""
    check(len(found) == len(dict(found)), f"{what}: steps are doubled: {[step for step, _ in found]}")
    found = dict(found)
    check(sorted(found) == sorted(wanted), f"{what}: has steps {sorted(found)}, not {sorted(wanted)}")
    for step, value in wanted.items():
        value = math.nan if value is None else value
        there = found.get(step, math.inf)
        close = math.isclose(there, value, rel_tol=1e-6, abs_tol=1e-9) or math.isnan(there) and math.isnan(value)
        check(close, f"{what} at step {step} is {there}, not {value}")


def train(folder, environment, *more, kill=None):
    # The variables of whoever runs this must not move the run elsewhere.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "MLFLOW_"))}
    clean |= environment | ({"VLHUB_FAILPOINT": f"step-{kill}=abort"} if kill else {})
    ran = subprocess.run([os.environ["VLHUB_BIN"], "train", "run.toml", *more], cwd=folder, env=clean, capture_output=True, text=True)
    check((ran.returncode != 0) if kill else (ran.returncode == 0), f"train {more} ended with {ran.returncode}: {ran.stderr}")
    return ran.stderr


def truth(run):
    """Numbers by name and step, as the run's own files have them: of steps, and of evaluations."""
    steps, evaluations = {}, {}
    for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        own = {name: line[name] for name in ["loss", "lr", "data_time", "batch_time", "samples_per_second"]}
        for name, value in (line["metrics"] | own).items():
            steps.setdefault(name, {})[line["step"]] = value
    for line in map(json.loads, (run / "checkpoints/results.jsonl").read_text().splitlines()):
        for name, value in line["metrics"].items():
            evaluations.setdefault(name if name.startswith(line["name"]) else f"{line['name']}-{name}", {})[line["step"]] = value
    check(any("R@1" in name for name in evaluations), f"no metric is called R@1: {sorted(evaluations)}")
    return steps, evaluations


def of_pandas(run, steps, evaluations):
    import pandas

    table = pandas.read_csv(run / "metrics.csv")
    check(list(table["step"]) == list(range(1, 13)), f"metrics.csv has steps {list(table['step'])}")
    for name, curve in steps.items():
        same(list(zip(table["step"], table[name])), curve, f"metrics.csv {name}")
    table = pandas.read_csv(run / "evaluations.csv")
    for (suite, metric), rows in table.groupby(["name", "metric"]):
        name = metric if metric.startswith(suite) else f"{suite}-{metric}"
        same(list(zip(rows["step"], rows["value"])), evaluations.pop(name), f"evaluations.csv {name}")
    check(not evaluations, f"evaluations.csv lacks {sorted(evaluations)}")


def of_tensorboard(run, steps, evaluations):
    from google.protobuf import text_format
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.projector import projector_config_pb2

    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    for prefix, curves in [("train", steps), ("val", evaluations)]:
        for name, curve in curves.items():
            same([(event.step, event.value) for event in events.Scalars(f"{prefix}/{name}")], curve, f"TensorBoard {prefix}/{name}")
    check([image.step for image in events.Images("train_batch")] == [0], "TensorBoard shows the first batch once")
    content = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content)
    check(start.hparams["train.batch"].number_value == 16, f"hyper-parameters: {start.hparams.get('train.batch')}")
    check(start.hparams["backbone.image.use"].string_value == "vit", "hyper-parameters: the image tower")
    content = events.summary_metadata[metadata.SESSION_END_INFO_TAG].plugin_data.content
    check(metadata.parse_session_end_info_plugin_data(content).status == 1, "the session ended with success")
    config = text_format.Parse((run / "tensorboard/projector_config.pbtxt").read_text(), projector_config_pb2.ProjectorConfig())
    check({embedding.tensor_name for embedding in config.embeddings} == {"shapes", "pairs"}, f"projector: {config}")
    for embedding in config.embeddings:
        tensors = (run / "tensorboard" / embedding.tensor_path).read_text().splitlines()
        labels = (run / "tensorboard" / embedding.metadata_path).read_text().splitlines()
        check(len(tensors) == len(labels) - 1 and len(tensors[0].split("\t")) == 16, f"projector: {len(tensors)} rows, {len(labels)} labels")


def served_by_tensorboard(logs):
    """What TensorBoard itself answers for the tabs HPARAMS and PROJECTOR, over both runs."""
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "tensorboard.main", "--logdir", logs, "--port", str(port)], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/data/plugin"
    try:
        infos = ask(f"{address}/hparams/experiment", {"experimentName": ""})
        names = {info["name"] for info in infos["hparamInfos"]}
        # One of the two runs has an option that the other has not.
        check({"train.batch", "optimizer.lr", "eval.more.every"} <= names, f"HPARAMS shows {sorted(names)}")
        request = {"colParams": [], "startIndex": 0, "sliceSize": 10, "allowedStatuses": ["STATUS_SUCCESS", "STATUS_UNKNOWN", "STATUS_RUNNING"]}
        groups = ask(f"{address}/hparams/session_groups", {"experimentName": ""} | request)["sessionGroups"]
        check(len(groups) == 2, f"HPARAMS shows {len(groups)} runs")
        check(all(group["sessions"][0]["status"] == "STATUS_SUCCESS" for group in groups), "HPARAMS: both have ended well")
        shown = ask(f"{address}/projector/runs")
        check("resumed/tensorboard" in shown, f"PROJECTOR shows {shown}")
        raw = urllib.request.urlopen(f"{address}/projector/tensor?run=resumed/tensorboard&name=shapes").read()
        check(len(raw) % (16 * 4) == 0 and len(raw) > 24 * 16 * 4, f"PROJECTOR gives {len(raw)} bytes")
        sprite = urllib.request.urlopen(f"{address}/projector/sprite_image?run=resumed/tensorboard&name=shapes").read()
        check(sprite.startswith(b"\x89PNG"), "PROJECTOR shows the pictures")
    finally:
        server.terminate()
        server.wait()


def of_wandb(run, steps, evaluations):
    from wandb.proto import wandb_internal_pb2

    [offline] = (run / "wandb").iterdir()
    [file] = offline.glob("run-*.wandb")
    check(offline.name.startswith("offline-run-") and offline.name.endswith(file.stem.removeprefix("run")), f"names {offline} and {file}")
    records = [wandb_internal_pb2.Record.FromString(data) for data in wandb_records(file)]
    rows = [record.history for record in records if record.WhichOneof("record_type") == "history"]
    check([row.step.num for row in rows] == list(range(0, 13)), f"W&B has steps {[row.step.num for row in rows]}")
    history = {}
    for row in rows:
        for item in row.item:
            history.setdefault("/".join(item.nested_key), []).append((row.step.num, json.loads(item.value_json)))
    for prefix, curves in [("train", steps), ("val", evaluations)]:
        for name, curve in curves.items():
            same(history.get(f"{prefix}/{name}", []), curve, f"W&B {prefix}/{name}")
    summary = json.loads((offline / "files/wandb-summary.json").read_text())
    check(summary["_step"] == 12 and math.isclose(summary["train/loss"], steps["loss"][12]), f"W&B's summary: {summary}")
    media = history["train_batch"][0][1]["path"]
    check((offline / "files" / media).is_file(), f"W&B has no picture {media}")
    # The terminal viewer is a reader by another hand.
    lines = run_wandb("leet", "inspect", "--json", file).stdout.splitlines()
    kinds = [json.loads(line).get("type") for line in lines]
    check(len(lines) == len(records), f"wandb leet reads {len(lines)} records of {len(records)}")
    check(kinds.count("history") == 13 and kinds[-1] == "exit", f"wandb leet reads {kinds}")
    state = json.loads(run_wandb("leet", "inspect", "--summary", "--json", file).stdout)
    check("finished" in json.dumps(state), f"wandb leet: {state}")
    return offline


def run_wandb(*args, **variables):
    """Runs wandb's program in a folder of its own, where it leaves files."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "wandb", *args]
        return subprocess.run(command, cwd=home, env=os.environ | {"HOME": home} | variables, capture_output=True, text=True, timeout=300)


def wandb_records(file):
    """LevelDB's log format with W&B's header, written down from its description."""
    data = file.read_bytes()
    check(data[:7] == b":W&B" + struct.pack("<HB", 0xBEE1, 0), f"the header is {data[:7]}")
    at, record = 7, b""
    while at < len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        crc, length, kind = struct.unpack_from("<IHB", data, at)
        part = data[at + 7 : at + 7 + length]
        check(zlib.crc32(bytes([kind]) + part) == crc, f"the checksum at byte {at} is wrong")
        at, record = at + 7 + length, record + part
        if kind in (1, 4):
            yield record
            record = b""


class Backend(http.server.BaseHTTPRequestHandler):
    """As much of W&B's server as `wandb sync` asks for."""

    protocol_version = "HTTP/1.1"
    history, uploaded, run, exit = [], [], {}, []

    def log_message(self, *_):
        pass

    def reply(self, value):
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def body(self):
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def do_GET(self):
        self.reply({})

    def do_PUT(self):
        self.uploaded.append((self.path, len(self.body())))
        self.reply({})

    def do_POST(self):
        body = self.body()
        if self.path.startswith("/sdk/"):
            # What the client measures of itself.
            return self.reply({})
        body = json.loads(body)
        if self.path.endswith("file_stream"):
            file = body.get("files", {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
            # A request that is repeated replaces what it sent before.
            self.history[file["offset"] : file["offset"] + len(file["content"])] = map(json.loads, file["content"])
            self.exit.extend([body["exitcode"]] if "exitcode" in body else [])
            return self.reply({})
        query, variables = body.get("query", ""), body.get("variables", {})
        bucket = {"id": "run", "name": variables.get("name"), "project": {"name": "vlhub", "entity": {"name": "team"}}, "historyLineCount": 0}
        if "upsertBucket" in query:
            self.run.update({name: value for name, value in variables.items() if value is not None})
            return self.reply({"data": {"upsertBucket": {"bucket": bucket | {"displayName": variables.get("displayName")}, "inserted": True}}})
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"http://{self.headers['Host']}/upload/{name}"} for name in variables["files"]]
            return self.reply({"data": {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": files}}})
        viewer = {"id": "me", "username": "me", "entity": "team", "flags": "{}", "teams": {"edges": []}}
        return self.reply({"data": {"viewer": viewer, "serverInfo": {"features": []}, "project": None, "model": None}})


def synced(offline, steps, evaluations):
    """What `wandb sync` sends of the offline run."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    # The client ends without closing its connections.
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ran = run_wandb("sync", offline, WANDB_BASE_URL=f"http://127.0.0.1:{server.server_port}", WANDB_API_KEY="0" * 40)
    check(ran.returncode == 0 and list(offline.glob("*.wandb.synced")), f"wandb sync: {ran.stdout}{ran.stderr}")
    check([row["_step"] for row in Backend.history] == list(range(0, 13)), f"wandb sync sent {[row['_step'] for row in Backend.history]}")
    for prefix, curves in [("train", steps), ("val", evaluations)]:
        for name, curve in curves.items():
            found = [(row["_step"], row[f"{prefix}/{name}"]) for row in Backend.history if f"{prefix}/{name}" in row]
            same(found, curve, f"wandb sync {prefix}/{name}")
    check(Backend.run.get("displayName") == "resumed" and "train" in json.dumps(Backend.run.get("config")), f"wandb sync made {Backend.run}")
    names = {path.removeprefix("/upload/") for path, size in Backend.uploaded if size}
    check({"config.toml"} <= names and any(name.startswith("media/images/train_batch") for name in names), f"wandb sync uploaded {names}")


def of_mlflow(uri, steps, evaluations, resent):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("peers")
    [found] = [run for run in client.search_runs([experiment.experiment_id]) if run.info.run_name == "resumed"]
    check(found.info.status == "FINISHED", f"MLflow: {found.info.status}")
    check(found.data.params["train.batch"] == "16", f"MLflow: {found.data.params}")
    for prefix, curves in [("train", steps), ("val", evaluations)]:
        for name, curve in curves.items():
            key = f"{prefix}/{name}".replace("@", "_at_")
            metrics = [(metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, key)]
            if name in TIMES:
                check(sorted(step for step, _ in metrics) == sorted(curve), f"MLflow {key} has steps {metrics}")
                metrics = [(step, value) for step, value in metrics if step not in resent]
                curve = {step: value for step, value in curve.items() if step not in resent}
            same(metrics, curve, f"MLflow {key}")
    files = {file.path for file in client.list_artifacts(found.info.run_id)}
    check(files == {"config.toml", "train_batch_0.png"}, f"MLflow has the files {files}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(address, body=None, patience=60):
    """The answer as JSON; waits for a server that has just been started."""
    deadline = time.monotonic() + patience
    while True:
        try:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(address, data, {"Content-Type": "application/json"} if data else {})
            with urllib.request.urlopen(request, timeout=10) as answer:
                value = json.load(answer)
            if value:
                return value
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"{address} did not answer")
        time.sleep(0.5)


def main(folder):
    (folder / "run.toml").write_text(RUN)
    port = free_port()
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    command = [sys.executable, "-m", "mlflow", "server", *store, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with open(folder / "mlflow.log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    environment = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": "peers"}
    loggers = "report_to=tensorboard,csv,wandb,mlflow"
    try:
        ask(f"{uri}/api/2.0/mlflow/experiments/search?max_results=1")
        more = 'eval.more={ use = "zeroshot", every = "never", data = { use = "shapes", split = "held_out", samples = 24, size = 16 } }'
        train(folder, environment, "name=straight", loggers, "optimizer.lr=2e-3", more)
        train(folder, environment, "name=resumed", loggers, kill=6)
        said = train(folder, environment, "name=resumed", loggers, "--resume")
        check("lost" not in said and "R_at_1" in said, f"the run says: {said}")
        run = folder / "logs/resumed"
        steps, evaluations = truth(run)
        of_mlflow(uri, steps, evaluations, resent={5, 6})
    finally:
        server.terminate()
        server.wait()
    of_pandas(run, steps, dict(evaluations))
    of_tensorboard(run, steps, evaluations)
    served_by_tensorboard(folder / "logs")
    synced(of_wandb(run, steps, evaluations), steps, evaluations)


def environment_of_our_own():
    """The Python of an environment with the packages; mlflow's requirements would move those of the other scripts."""
    place = pathlib.Path(f"{sys.prefix}-loggers-" + "-".join(package.split("==")[1] for package in PACKAGES))
    python = place / "bin" / "python"
    if not (place / "done").exists():
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (place / "done").touch()
    return python


if __name__ == "__main__":
    try:
        import mlflow  # noqa: F401
        import wandb  # noqa: F401
    except ImportError:
        python = environment_of_our_own()
        os.execv(python, [python, *sys.argv])
    with tempfile.TemporaryDirectory() as scratch:
        main(pathlib.Path(scratch))
    print("\n".join(wrong) or "ok")
    sys.exit(bool(wrong))
