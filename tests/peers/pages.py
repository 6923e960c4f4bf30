"""Opens the pages of `vlhub report`, `eval --out` and `compare` in headless Chromium.

usage: pages.py [SCREENSHOTS]
Trains small runs with the program that VLHUB_BIN names, on pictures whose class names try to become markup, and looks at their pages 1280 and 390
pixels wide, light and dark: no console message, no request but the page itself, nothing wider than the window, letters large enough and dark
enough. With SCREENSHOTS, what was seen is kept there. Needs `playwright` and a Chromium: `CHROMIUM` names one, otherwise `chromium` or
`google-chrome` of the system, otherwise playwright's own (`playwright install chromium`). Exit status 1 names what is wrong.
"""

import colorsys
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from PIL import Image, ImageDraw
from playwright.sync_api import sync_playwright

RUN = """
seed = 1
embed = 32
backbone.image = { use = "vit", image_size = 16, patch_size = 8, width = 32, layers = 2, heads = 2 }
backbone.text = { use = "text_transformer", context = 32, width = 32, layers = 2, heads = 2 }
data.train = { use = "shapes", samples = 1024, size = 16 }
objective.clip = {}
train = { batch = 32, steps = 200, log_every = 50, torch_threads = 1 }
optimizer.lr = 3e-3
schedule.warmup = 2
eval.shapes = { use = "zeroshot", every = "50 steps", data = { use = "shapes", split = "held_out", samples = 96, size = 16 } }
eval.found = { use = "retrieval", data = { use = "shapes", split = "held_out", samples = 48, size = 16 } }
eval.colours = { use = "zeroshot", data = { use = "imagefolder", path = "colours" } }
"""
SIZES = [(1280, 900), (390, 844)]
SCHEMES = ["light", "dark"]
# Letters of tables in pixels, of drawings likewise, and the contrast that WCAG 2.1 asks of text (AA).
LEAST_TEXT, LEAST_DRAWN, LEAST_CONTRAST = 12.0, 8.5, 4.5

MEASURE = """
() => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const part = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const paper = node => {
    for (; node; node = node.parentElement) {
      const found = rgb(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const texts = [...document.querySelectorAll('td, small, th, p, dd, dt, figcaption, summary, li, h1, h2, h3')].filter(n => n.textContent.trim());
  const drawn = [...document.querySelectorAll('svg')].flatMap(svg => {
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    return [...svg.querySelectorAll('text')].map(t => parseFloat(getComputedStyle(t).fontSize) * scale);
  });
  const drawnContrast = [...document.querySelectorAll('svg text:not(.on):not([pointer-events])')].map(t => contrast(rgb(getComputedStyle(t).fill), paper(t.closest('svg'))));
  return {
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    text: Math.min(...texts.map(n => parseFloat(getComputedStyle(n).fontSize))),
    drawn: drawn.length ? Math.min(...drawn) : 99,
    contrast: Math.min(...texts.map(n => contrast(rgb(getComputedStyle(n).color), paper(n))), ...drawnContrast),
    broken: [...document.querySelectorAll('img')].filter(i => !i.complete || i.naturalWidth === 0).length,
    pictures: document.querySelectorAll('figure img').length,
    drawings: document.querySelectorAll('svg').length,
    markup: document.querySelectorAll('b, i, u, script, marquee').length,
    words: document.body.innerText,
  };
}
"""


def program() -> str:
    return os.environ.get("VLHUB_BIN") or "target/debug/vlhub"


def vlhub(folder: pathlib.Path, *args: str) -> str:
    done = subprocess.run([str(pathlib.Path(program()).resolve()), *args], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"vlhub {' '.join(args)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def colours(folder: pathlib.Path) -> None:
    """Sixty classes of two pictures each: more than a heat map has names for. Some names try to become markup."""
    odd = ["<b>bold<", "a \"quoted\" & 'single' name", "one-word-of-a-class-name-that-is-much-longer-than-any-cell-of-a-table-should-have-to-be"]
    for at in range(60):
        name = odd[at] if at < len(odd) else f"colour {at}"
        room = folder / "colours" / name
        room.mkdir(parents=True)
        for copy in range(2):
            shade = tuple(int(255 * value) for value in colorsys.hsv_to_rgb(at / 60, 0.9, 0.6 + 0.3 * copy))
            picture = Image.new("RGB", (96, 64), shade)
            ImageDraw.Draw(picture).ellipse((20 + 20 * copy, 10, 60 + 20 * copy, 50), fill="white")
            picture.save(room / f"{copy}.png")


def make(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    colours(folder)
    (folder / "run.toml").write_text(RUN)
    for name, lr in [("slow", "2e-5"), ("fast", "1e-3")]:
        for seed in [1, 2, 3]:
            vlhub(folder, "train", "run.toml", f"name={name}_s{seed}", f"seed={seed}", f"optimizer.lr={lr}")
    vlhub(folder, "eval", "logs/fast_s1", "--out", "measured")
    runs = [f"logs/{name}_s{seed}" for name in ["slow", "fast"] for seed in [1, 2, 3]]
    vlhub(folder, "compare", *runs, "--out", "seeds.html")
    vlhub(folder, "compare", "logs/slow_s1", "logs/fast_s1", "--out", "pair.html")
    return {
        "report": folder / "logs/fast_s1/report.html",
        "eval": folder / "measured/report.html",
        "compare_seeds": folder / "seeds.html",
        "compare_pair": folder / "pair.html",
    }


def browser_path() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)


def look(browser, name: str, path: pathlib.Path, size: tuple[int, int], scheme: str, shots: pathlib.Path | None) -> list[str]:
    where = f"{name} at {size[0]} {scheme}"
    wrong, requests, messages = [], [], []
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: messages.append(f"error: {error}"))
    page.goto(path.as_uri())
    found = page.evaluate(MEASURE)
    outside = [url for url in requests if url != path.as_uri() and not url.startswith("data:")]
    checks = [
        (not messages, f"messages of the console: {messages[:3]}"),
        (not outside, f"requests: {outside[:3]}"),
        (found["overflow"] <= 0, f"the page is {found['overflow']} pixels wider than the window"),
        (found["text"] >= LEAST_TEXT, f"letters of {found['text']} pixels"),
        (found["drawn"] >= LEAST_DRAWN, f"letters of {found['drawn']:.1f} pixels in a drawing"),
        (found["contrast"] >= LEAST_CONTRAST, f"a contrast of {found['contrast']:.2f}"),
        (found["broken"] == 0, f"{found['broken']} pictures are broken"),
        (found["markup"] == 0, "a class name became markup"),
        (found["drawings"] > 0, "no drawing"),
    ]
    for word in WORDS[name]:
        checks.append((word in found["words"], f"`{word}` is missing"))
    wrong += [f"{where}: {why}" for passed, why in checks if not passed]
    if name in ("report", "eval") and found["pictures"] < 10:
        wrong.append(f"{where}: {found['pictures']} pictures of examples")
    if shots:
        page.screenshot(path=shots / f"{name}_{size[0]}_{scheme}.png", full_page=True)
    context.close()
    return wrong


WORDS = {
    "report": ["Results", "95 % interval", "Classes of colours", "<b>bold<", "Least recognised", "Data", "Environment", "Configuration"],
    "eval": ["Results", "Classes of shapes", "Confused classes side by side", "Environment"],
    "compare_seeds": ["Results over seeds", "Which differences are more than noise", "optimizer.lr", "Accuracy against speed"],
    "compare_pair": ["Which differences are more than noise", "second − first", "optimizer.lr"],
}


def files(folder: pathlib.Path) -> list[str]:
    """What lies beside the pages can be read by others."""
    wrong = []
    run = folder / "logs/fast_s1"
    last = [json.loads(line) for line in (run / "checkpoints/results.jsonl").read_text().splitlines()][-1]
    if not last["interval"]:
        wrong.append("results.jsonl has no intervals")
    drawn = ["curves", "confusion_matrix/shapes", "confusion_matrix/colours", "confusion_matrix/colours.clustered"]
    for name in drawn:
        svg = (run / f"{name}.svg").read_text()
        if not svg.startswith("<svg xmlns="):
            wrong.append(f"{name}.svg does not stand alone")
        if (run / f"{name}.png").exists() and Image.open(run / f"{name}.png").size[0] < 400:
            wrong.append(f"{name}.png is too small")
    return wrong


def main() -> int:
    shots = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as play:
        folder = pathlib.Path(name)
        pages = make(folder)
        wrong = files(folder)
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
        browser = play.chromium.launch(executable_path=browser_path(), args=quiet)
        for page, path in pages.items():
            if path.stat().st_size > 2_000_000:
                wrong.append(f"{page} has {path.stat().st_size} bytes")
            for size in SIZES:
                for scheme in SCHEMES:
                    wrong += look(browser, page, path, size, scheme, shots)
        version = browser.version
        browser.close()
        if shots:
            for drawing in ["curves.png", "confusion_matrix/shapes.png", "confusion_matrix/colours.clustered.png"]:
                shutil.copy(folder / "logs/fast_s1" / drawing, shots / drawing.replace("/", "_"))
    for line in wrong:
        print(line)
    print(f"{len(pages) * len(SIZES) * len(SCHEMES)} views in Chromium {version}, {len(wrong)} things wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
