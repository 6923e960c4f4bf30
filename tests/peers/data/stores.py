"""Shards of a real S3 server (moto, on this machine), a web server and a command, against the same shards on disk: the batches have to be the same
to the bit. The program is built with `--features object-store` first. Also what webdataset makes of the same compressed shards."""

import functools
import gzip
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path

import boto3
import webdataset
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
RUN = """
embed = 16
[backbone.image]
use = "vit"
image_size = 16
patch_size = 8
width = 16
layers = 1
heads = 2
[backbone.text]
use = "text_transformer"
context = 32
width = 16
layers = 1
heads = 2
[objective.clip]
[train]
batch = 8
steps = 1
[store.s3]
endpoint = "ENDPOINT"
region = "us-east-1"
"""
BUCKET, FOLDER = "pictures", "cc3m train"


def shard(first):
    """Twelve pictures with captions."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for number in range(first, first + 12):
            picture = io.BytesIO()
            Image.new("RGB", (20, 18), (number * 7 % 256, number * 31 % 256, number * 91 % 256)).save(picture, "PNG")
            for name, data in ((f"{number:05}.png", picture.getvalue()), (f"{number:05}.txt", f"picture number {number}".encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


def main():
    subprocess.run(["cargo", "build", "--package", "vlhub", "--features", "object-store"], cwd=ROOT, check=True)
    program = ROOT / "target/debug/vlhub"
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    keys = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tester"}
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="tester", aws_secret_access_key="secret-of-the-tester"
    )
    failures = []

    def holds(what, fine, told=""):
        print(f"{'ok' if fine else 'FAILED'}: {what}{'' if fine else f': {told}'}")
        if not fine:
            failures.append(what)

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "run.toml").write_text(RUN.replace("ENDPOINT", endpoint))
        shards = {f"{number:05}.tar": shard(number * 12) for number in range(3)}
        shards["packed.tar.gz"] = gzip.compress(shards["00000.tar"])
        shards["blocks.tar.gz"] = b"".join(gzip.compress(shards["00000.tar"][at : at + 5120]) for at in range(0, len(shards["00000.tar"]), 5120))
        client.create_bucket(Bucket=BUCKET)
        for key, data in shards.items():
            (work / key).write_bytes(data)
            client.put_object(Bucket=BUCKET, Key=f"{FOLDER}/{key}", Body=data)
        # More names than one answer of a list holds, and one below a folder, which `*` must not find.
        for number in range(1005):
            client.put_object(Bucket=BUCKET, Key=f"many/{number:05}.txt", Body=b"x")
        client.put_object(Bucket=BUCKET, Key=f"{FOLDER}/old/00003.tar", Body=b"not a shard")
        # An upload in parts has an ETag that is no digest of its bytes.
        large = shard(0) + bytes(6 << 20)
        upload = client.create_multipart_upload(Bucket=BUCKET, Key="parts.tar")["UploadId"]
        parts = []
        for number, part in enumerate((large[: 5 << 20], large[5 << 20 :]), 1):
            answer = client.upload_part(Bucket=BUCKET, Key="parts.tar", UploadId=upload, PartNumber=number, Body=part)
            parts.append({"ETag": answer["ETag"], "PartNumber": number})
        client.complete_multipart_upload(Bucket=BUCKET, Key="parts.tar", UploadId=upload, MultipartUpload={"Parts": parts})

        def run(*arguments, **more):
            environment = {**os.environ, **keys, "VLHUB_DATA_CACHE": str(work / "cache"), "NO_COLOR": "1", **more}
            return subprocess.run([program, *arguments], cwd=work, env=environment, capture_output=True, text=True)

        def batch(shards, *more):
            preview = work / "preview.png"
            preview.unlink(missing_ok=True)
            done = run("data", "preview", "run.toml", f'data.train={{use="webdataset",shards={json.dumps(shards)}}}', *more)
            found = hashlib.sha256(preview.read_bytes()).hexdigest() if preview.exists() else ""
            return found, done.stderr

        plain, told = batch("{00000..00002}.tar")
        holds("shards on disk", plain, told)
        for what, shards in (
            ("braces", f"s3://{BUCKET}/{FOLDER}/{{00000..00002}}.tar"),
            ("a star", f"s3://{BUCKET}/{FOLDER}/*.tar"),
            ("a list", [f"s3://{BUCKET}/{FOLDER}/0000{number}.tar" for number in range(3)]),
        ):
            found, told = batch(shards)
            holds(f"S3, {what}: the batch of the shards on disk", found == plain, told)
        one = batch("00000.tar")[0]
        for key in ("packed.tar.gz", "blocks.tar.gz"):
            found, told = batch(f"s3://{BUCKET}/{FOLDER}/{key}")
            holds(f"S3, {key}: the batch of 00000.tar", found == one, told)
        found, told = batch(f"s3://{BUCKET}/parts.tar")
        holds("S3, an upload in parts: the batch of 00000.tar", found == one, told)

        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=name)
        handler.log_message = lambda *_: None
        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        found, told = batch(f"http://127.0.0.1:{web.server_port}/{{00000..00002}}.tar")
        holds("a web server: the batch of the shards on disk", found == plain, told)
        signed = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": f"{FOLDER}/00000.tar"})
        found, told = batch([signed])
        holds("a signed address of S3: the batch of 00000.tar", found == one, told)
        found, told = batch("pipe:cat {00000..00002}.tar", "--allow-pipe")
        holds("commands: the batch of the shards on disk", found == plain, told)

        cached = json.loads(run("data", "cache", "--json").stdout)
        holds("the cache has no signature and no key", "Signature" not in str(cached) and "secret" not in str(cached), cached)
        server.stop()
        found, told = batch(f"s3://{BUCKET}/{FOLDER}/{{00000..00002}}.tar")
        holds("without the server: what is cached is read", found == plain, told)
        done = run("data", "check", f"s3://{BUCKET}/none.tar", AWS_ENDPOINT_URL="http://127.0.0.1:1", AWS_ALLOW_HTTP="true")
        holds("no server: exit status 2", done.returncode == 2 and "none.tar" in done.stderr, done.stderr)

        for key in ("packed.tar.gz", "blocks.tar.gz"):
            try:
                seen = len(list(webdataset.WebDataset(str(work / key), shardshuffle=False)))
            except tarfile.ReadError as error:
                seen = f"ReadError: {error.args[0]}"
            print(f"    webdataset {webdataset.__version__} of {key}, which holds 12 samples: {seen}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
