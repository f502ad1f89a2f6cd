"""The kernel distance (KID): the squared maximum mean discrepancy with a cubic kernel.

Bińkowski et al. 2018 (arXiv:1801.01401), section 4: k(x, y) = (x·y / F + 1)^3, and the unbiased
estimate of Gretton et al. 2012, lemma 6. It has no bias in the number of examples, so that values
with different numbers can be compared, and may fall below 0 for equal distributions.
"""

import torch
from torch import Tensor

from trainwright.score.figure import Figure, mean_of

BLOCK = 1000
MIN_BLOCKS = 5


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """The unbiased estimate from features (N, F) and (M, F), N and M at least 2."""
    num_first, num_second = len(first), len(second)
    if min(num_first, num_second) < 2:
        raise ValueError("the kernel distance needs at least two examples of each set")
    first, second = first.double(), second.double()
    within_first, within_second = _kernel(first, first), _kernel(second, second)
    return float(
        (within_first.sum() - within_first.trace()) / (num_first * (num_first - 1))
        + (within_second.sum() - within_second.trace()) / (num_second * (num_second - 1))
        - 2 * _kernel(first, second).mean()
    )


def kid(features: Tensor, reference: Tensor) -> Figure:
    """The mean over disjoint blocks of both sets, and the standard error from their spread.

    `features` is (N, F), `reference` (M, F), in an order that says nothing. Blocks hold 1,000
    examples, or a fifth of the smaller set where that is less; N and M are at least 10.
    """
    num_examples = min(len(features), len(reference))
    size = min(BLOCK, num_examples // MIN_BLOCKS)
    ends = range(size, num_examples + 1, size)
    parts = [slice(end - size, end) for end in ends]
    values = [kernel_distance(features[part], reference[part]) for part in parts]
    return mean_of(torch.tensor(values, dtype=torch.float64))


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    """(N, F) and (M, F) -> (N, M)."""
    return (first @ second.T / first.shape[1] + 1) ** 3
