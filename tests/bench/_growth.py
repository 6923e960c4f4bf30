"""How a cost grows: points, the exponent that fits them, and what it should be at most."""

import math
from dataclasses import dataclass
from statistics import linear_regression

from _results import table


@dataclass
class Growth:
    what: str
    axis: str
    # Place on the axis and cost.
    points: list
    # What the exponent should not pass, a tenth for noise included.
    most: float
    shown: str = "{:.3g} s"

    def exponent(self):
        places, costs = zip(*self.points)
        # A cost that is lost in noise may come out as nothing, which has no logarithm.
        return linear_regression([math.log(place) for place in places], [math.log(max(cost, 1e-3)) for cost in costs]).slope

    def cells(self):
        figures = ", ".join(f"{place:,}: {self.shown.format(cost)}" for place, cost in self.points)
        exponent = self.exponent()
        return [self.what, self.axis, figures, f"{exponent:.2f}", f"{self.most:g}: {'kept' if exponent <= self.most else 'passed'}"]


def grown(name, times, peaks, most=1.1):
    """The rows of a loss alone, which compares all pairs; `most` is for its memory, in MiB."""
    if len(times) < 2:
        return []
    return [Growth(name, "rows", times, 2.1), Growth(f"{name}, tensors beside the features", "rows", peaks, most, "{:,.0f} MiB")]


def growths(rows):
    return table(["what", "axis", "figures", "exponent", "at most"], [row.cells() for row in rows])
