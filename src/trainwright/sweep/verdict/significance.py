"""Whether two settings differ by more than their seeds do.

Welch's t-test (two-sided, unequal variances; Welch 1947), and Holm's correction (1979) for the
number of comparisons that are made.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """The two-sided p-value of Welch's t-test on two samples of at least two values each.

    Two samples without any variance differ for certain (0), or not at all (1).
    """
    variances = stdev(one) ** 2 / len(one), stdev(other) ** 2 / len(other)
    difference = fmean(one) - fmean(other)
    if sum(variances) == 0:
        return 0.0 if difference else 1.0
    from scipy.special import stdtr

    t = abs(difference) / math.sqrt(sum(variances))
    sizes = len(one), len(other)
    freedom = sum(variances) ** 2 / sum(
        variance**2 / (size - 1) for variance, size in zip(variances, sizes, strict=True)
    )
    return float(2 * stdtr(freedom, -t))


def gap(one: Sequence[float], other: Sequence[float]) -> float:
    """How far apart the means of two such samples are, in standard deviations of both together."""
    difference = abs(fmean(one) - fmean(other))
    spread = math.sqrt((stdev(one) ** 2 + stdev(other) ** 2) / 2)
    if spread == 0:
        return math.inf if difference else 0.0
    return difference / spread


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of some p-values, in their order."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
