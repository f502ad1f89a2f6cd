"""Does a generator repeat training examples? Its samples would lie nearer to them than new ones do.

The distances are between features. The test is that of Meehan et al. 2020 (arXiv:2004.05675),
"A non-parametric test to detect data-copying in generative models", with one cell.
"""

import torch
from torch import Tensor

from trainwright.score.figure import Figure


def copying(generated: Tensor, held_out: Tensor) -> Figure:
    """How probably a sample is nearer to its nearest training example than a held-out one to its.

    `generated` (N,) and `held_out` (M,) are those distances. 0.5: as near as new examples are; 1:
    all samples repeat training examples; 0: all are far from any. This is the statistic of Mann
    and Whitney over N M, ties counting half, with the standard error of DeLong et al. 1988.
    """
    nearer = _share_above(held_out, generated)  # (N,)
    farther = 1 - _share_above(generated, held_out)  # (M,)
    variance = nearer.var() / len(nearer) + farther.var() / len(farther)
    return Figure(float(nearer.mean()), float(variance.sqrt()))


def _share_above(values: Tensor, bars: Tensor) -> Tensor:
    """The share of values (M,) above each bar (N,), equal ones counting half: (N,)."""
    ordered = values.double().sort().values
    bars = bars.double()
    below = torch.searchsorted(ordered, bars, right=False)
    not_above = torch.searchsorted(ordered, bars, right=True)
    return 1 - (below + not_above).double() / (2 * len(values))
