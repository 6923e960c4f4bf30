"""`RESULTS.md`: a section for each script, which the script writes anew whenever all of its cases were measured."""

import importlib.metadata
import os
import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from statistics import median

from _program import version
from _rounds import THREADS, WANTED, spread

FILE = Path(__file__).with_name("RESULTS.md")
HEAD = """# VL Hub against other programs, measured

Written by `cargo vlhub bench --peers`, a section by each script in this folder; another machine gives other figures. VL Hub and the peer are measured
in turns, after both have computed the same numbers from the same weights and inputs. A ratio is above 1 where VL Hub is better: the peer's time or
memory over ours, in each round; median, least and most. *Share of the limit*: how much of a step its matrix products and convolutions would take at
the speed of one product of 1024 x 1024 matrices, measured in the same process; what the peers call is the same products.

"""
SECTION = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- end of \1 -->\n", re.DOTALL)


@dataclass
class Comparison:
    """A case; `ratios` has a number for each round, `goal` what their median should reach."""

    case: str
    ours: str
    peer: str
    ratios: list
    share: float | None = None
    goal: float | None = None

    def cells(self):
        share = "" if self.share is None else f"{100 * self.share:.0f} %"
        verdict = "" if self.goal is None else f"{self.goal:g}: {'reached' if median(self.ratios) >= self.goal else 'missed'}"
        return [self.case, self.ours, self.peer, spread(self.ratios), str(len(self.ratios)), share, verdict]


def in_seconds(values):
    return f"{median(values):.3g} s"


def in_mib(values):
    return f"{median(values) / 2**20:,.0f} MiB"


def table(columns, rows):
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def comparisons(rows):
    columns = ["case", "VL Hub", "peer", "ratio", "rounds", "share of the limit", "goal"]
    return table(columns, [row.cells() for row in rows])


def with_other_cases(new, old):
    """A table with the rows that only the one before it has."""
    new, old = new.splitlines(), old.splitlines()
    if new[0] not in old:
        return "\n".join(new) + "\n"
    named = {line.split(" | ")[0] for line in new}
    rows = takewhile(lambda line: line.startswith("|"), old[old.index(new[0]) + 2 :])
    return "\n".join([*new[:2], *(row for row in rows if row.split(" | ")[0] not in named), *new[2:]]) + "\n"


def processor():
    about = Path("/proc/cpuinfo").read_text()
    model, wide = re.search(r"model name\s*:\s*(.*)", about), " with AVX-512" if " avx512f " in about else ""
    return f"{model[1] if model else 'unknown processor'}{wide}, {THREADS} cores"


def report(script, title, about, packages, rounds, *tables):
    """Prints the tables, and writes the section after at least three rounds (or where RESULTS=1 says so). Cases that were not asked for keep their rows."""
    versions = [version(), *(f"{name} {importlib.metadata.version(name)}" for name in ["torch", *packages])]
    how = f"`cargo vlhub bench --peers {script}`: {', '.join(versions)}; {processor()}."
    sections = dict(SECTION.findall(FILE.read_text() if FILE.exists() else ""))
    if WANTED:
        tables = [with_other_cases(each, sections.get(script, "")) for each in tables]
    text = f"## {title}\n\n{how}\n\n{about}\n\n" + "\n".join(tables)
    print(text, flush=True)
    if os.environ.get("RESULTS") != "1" and rounds < 3:
        print(f"{FILE.name} is left as it is: fewer than three rounds (RESULTS=1 writes it)", flush=True)
        return
    sections[script] = text
    FILE.write_text(HEAD + "\n".join(f"<!-- {name} -->\n{sections[name]}<!-- end of {name} -->\n" for name in sorted(sections)))
