"""How sure a measured number is: confidence intervals for the metrics of a split."""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from trainwright.progress import counted
from trainwright.seeds import generator_for

LEVEL = 0.95
NUM_RESAMPLES = 1000
Interval = tuple[float, float]


def wilson(hits: int, trials: int, *, level: float = LEVEL) -> Interval:
    """The score interval of a proportion; (0, 1) without trials.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference". Unlike the
    textbook's p +- z s it stays within 0 and 1, and holds for few trials and for 0 or all hits.
    """
    if trials == 0:
        return (0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = hits / trials
    centre = share + z**2 / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return (max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def bootstrap(
    measure: Callable[[Tensor], dict[str, float]],
    num_examples: int,
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Percentile intervals of all metrics of a split, by drawing its examples with replacement.

    `measure` gives the metrics of examples by their places in the split, (n,) int64; none where it
    cannot. Efron 1979, "Bootstrap methods: another look at the jackknife". Says how much the
    numbers depend on which examples are in the split, not on the seed of the training.
    """
    generator = generator_for(seed, "bootstrap")
    drawn: dict[str, list[float]] = {}
    for _ in counted(range(num_resamples), "drawing again, for the intervals", "draws"):
        found_now = measure(torch.randint(num_examples, (num_examples,), generator=generator))
        if not found_now:
            return {}
        for name, number in found_now.items():
            drawn.setdefault(name, []).append(number)
    tails = [(1 - level) / 2, (1 + level) / 2]
    return {name: tuple(np.quantile(numbers, tails).tolist()) for name, numbers in drawn.items()}
