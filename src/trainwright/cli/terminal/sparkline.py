"""A curve as a line of text."""

import itertools
import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], *, width: int = 40) -> str:
    """The values from left to right, at most `width` letters: the lowest is ▁, the highest █.

    Where there are more values than letters, each letter is the mean of those it stands for. What
    is not finite leaves a gap.
    """
    if len(values) > width:
        edges = [round(i * len(values) / width) for i in range(width + 1)]
        values = [_mean(values[a:b]) for a, b in itertools.pairwise(edges)]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    if high == low:
        return "".join(BLOCKS[3] if math.isfinite(value) else " " for value in values)
    top = len(BLOCKS) - 1
    return "".join(
        BLOCKS[round((value - low) / (high - low) * top)] if math.isfinite(value) else " "
        for value in values
    )


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
