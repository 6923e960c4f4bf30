"""`vlhub serve` under load, and its page in headless Chromium.

usage: serve.py [SCREENSHOTS]
10,000 requests, 32 at a time, wrong and oversized ones among them, from this machine: every answer has the status that is documented, the
server goes on, and its memory does not grow (the second half against the first). Then the page: a picture is dropped, names are typed, the
folder is searched, 1280 and 390 pixels wide, light and dark; no console message, no request beyond the server. REQUESTS sets another number.
"""

import base64
import concurrent.futures
import http.client
import io
import json
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from PIL import Image
from playwright.sync_api import expect, sync_playwright

VLHUB = str(pathlib.Path(os.environ.get("VLHUB_BIN") or "target/debug/vlhub").resolve())
REQUESTS, AT_A_TIME = int(os.environ.get("REQUESTS", "10000")), 32
RUN = """
name = "served"
seed = 1
embed = 16
backbone.image = { use = "vit", image_size = 16, patch_size = 8, width = 16, layers = 1, heads = 2 }
backbone.text = { use = "text_transformer", context = 32, width = 16, layers = 1, heads = 2 }
data.train = { use = "shapes", samples = 96, size = 16 }
objective.clip = {}
train = { batch = 16, steps = 24, log_every = 50, torch_threads = 1 }
"""


def picture(colour, side=64):
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, "PNG")
    return out.getvalue()


def requests(generator):
    """A request and the statuses that it may have: (method, path, body, headers, statuses)."""
    image = base64.b64encode(picture(tuple(generator.randrange(256) for _ in range(3)), generator.choice([16, 64, 300]))).decode()
    classes = [f"a {word}" for word in generator.sample(["cat", "dog", "circle", "square", "bird", "tree"], 3)]
    asked = generator.random()
    if asked < 0.5:
        return "POST", "/api/classify", json.dumps({"image": image, "classes": classes}), {}, {200, 503}
    if asked < 0.7:
        return "POST", "/api/search", json.dumps({"text": classes[0], "top": 3}), {}, {200, 503}
    if asked < 0.8:
        return "GET", f"/picture/{generator.randrange(8)}", None, {}, {200}
    if asked < 0.85:
        return "GET", "/", None, {}, {200}
    wrong = [
        ("POST", "/api/classify", "{" * 1000, {}, {422}),
        ("POST", "/api/classify", json.dumps({"image": base64.b64encode(b"no picture" * 100).decode(), "classes": ["a"]}), {}, {422}),
        ("POST", "/api/classify", json.dumps({"image": image, "classes": ["a"] * 5000}), {}, {422}),
        ("POST", "/api/search", json.dumps({"text": "a" * 100_000}), {}, {422}),
        ("GET", "/picture/999999", None, {}, {404}),
        ("GET", "/../../etc/passwd", None, {}, {404}),
        ("PUT", "/api/classify", "x", {}, {405}),
        ("POST", "/api/classify", json.dumps({"image": image, "classes": ["a"]}), {"Origin": "http://example.org"}, {403}),
        ("GET", "/", None, {"Host": "example.org"}, {403}),
    ]
    if asked < 0.995:
        return generator.choice(wrong)
    return "POST", "/api/classify", b"a" * (33 << 20), {}, {413}


def resident(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def load(process, host, port):
    statuses, times, memory, faults = {}, [], [], []
    lock = threading.Lock()

    def one(number):
        method, path, body, headers, wanted = requests(random.Random(number))
        begin = time.perf_counter()
        connection = http.client.HTTPConnection(host, port, timeout=120)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
        except (BrokenPipeError, ConnectionResetError):
            # A server that turns a large body away need not read it to its end.
            status, text = (413 if wanted == {413} else 0), b""
        finally:
            connection.close()
        with lock:
            statuses[status] = statuses.get(status, 0) + 1
            if status == 200:
                times.append(time.perf_counter() - begin)
            if status not in wanted:
                faults.append(f"{method} {path}: {status} {text[:200]!r}, wanted {wanted}")
            if number % 200 == 0:
                memory.append(resident(process))

    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(one, range(REQUESTS)))
    seconds = time.perf_counter() - begin
    times.sort()
    half = len(memory) // 2
    first, second = statistics.median(memory[:half]), statistics.median(memory[half:])
    print(f"{REQUESTS} requests, {AT_A_TIME} at a time: {REQUESTS / seconds:.0f}/s; answers by status {dict(sorted(statuses.items()))}")
    print(f"answered in {1000 * times[len(times) // 2]:.0f} ms (median), {1000 * times[int(len(times) * 0.99)]:.0f} ms (99 of 100)")
    print(f"resident memory {first:.0f} MB in the first half, {second:.0f} MB in the second, {max(memory):.0f} MB at most")
    if faults:
        sys.exit(f"{len(faults)} wrong answers, such as {faults[:3]}")
    if process.poll() is not None:
        sys.exit(f"the server ended with {process.returncode}")
    if second > 1.1 * first + 20:
        sys.exit("its memory grows")


def look(address, folder, shots):
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width, height in [(1280, 900), (390, 844)]:
            for scheme in ["light", "dark"]:
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                told, asked = [], []
                page.on("console", lambda message: told.append(message.text))
                page.on("pageerror", lambda error: told.append(str(error)))
                page.on("request", lambda request: asked.append(request.url))
                page.goto(address)
                # Its own policy forbids the page to evaluate texts, so what is waited for is named and not computed.
                expect(page.locator("#about")).to_contain_text("indexed")
                page.fill("#classes", "red square\nblue circle\n<b>green</b>")
                page.set_input_files("#files", [str(folder / "photos/0.png"), str(folder / "photos/1.png")])
                expect(page.locator("#answers .row")).to_have_count(6)
                page.fill("#text", "a red square")
                page.press("#text", "Enter")
                expect(page.locator("#found figure")).to_have_count(8)
                page.click("text=like this >> nth=0")
                expect(page.locator("#found figcaption").first).to_contain_text("1.000")
                page.locator("#found img").first.scroll_into_view_if_needed()
                page.wait_for_load_state("networkidle")
                drawn = page.locator("#found img").first.evaluate("image => image.naturalWidth")
                wide = page.locator("html").evaluate("node => node.scrollWidth - node.clientWidth")
                markup = page.locator("#answers b").count()
                if shots:
                    page.screenshot(path=f"{shots}/serve-{width}-{scheme}.png", full_page=True)
                elsewhere = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
                if told or elsewhere or wide > 0 or markup or not drawn:
                    sys.exit(f"{width} {scheme}: console {told}, requests {elsewhere}, {wide} pixels too wide, {markup} elements of markup, {drawn} pixels of the first picture")
                page.close()
        browser.close()
    print("the page: 1280 and 390 pixels wide, light and dark: pass")


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "run.toml").write_text(RUN)
        subprocess.run([VLHUB, "train", "run.toml"], cwd=folder, check=True, capture_output=True)
        (folder / "photos").mkdir()
        for number in range(8):
            (folder / f"photos/{number}.png").write_bytes(picture((number * 30, 255 - number * 30, 90), 200))
        command = [VLHUB, "serve", "logs/served", "--port", "0", "--images", "photos"]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            address = re.search(r"http://\S+", process.stdout.readline())[0]
            host, port = re.fullmatch(r"http://([^:/]+):(\d+)/", address).groups()
            look(address, folder, sys.argv[1] if len(sys.argv) > 1 else None)
            load(process, host, int(port))
        finally:
            process.kill()


main()
