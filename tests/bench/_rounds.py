"""Measuring in turns: who is measured in which order, how often, and what a list of numbers comes to.

The environment says what of a script is run: `ROUNDS=3` measures three times, `ROUNDS=0` only sees whether both sides compute the same, and
`CASES=RN50` takes the cases with RN50 in their name.
"""

import os
from statistics import median

THREADS = os.cpu_count()
WANTED = os.environ.get("CASES", "")


def rounds(usual):
    return int(os.environ.get("ROUNDS", usual))


def wanted(cases):
    """The names among `cases` that are asked for, in their order."""
    return [case for case in cases if WANTED in case]


def in_turns(ways, count):
    """What each of the functions in `ways` gave, for each round. Every other round goes backwards: whoever comes first has a cooler processor."""
    found = []
    for at in range(count):
        order = list(ways) if at % 2 == 0 else list(ways)[::-1]
        found.append({way: ways[way]() for way in order})
    return found


def spread(values):
    """The median, and the least and the most."""
    form = ".2f" if median(values) < 10 else ".1f" if median(values) < 100 else ".0f"
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
