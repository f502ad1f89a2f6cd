"""Which noise leads to which example of a batch."""

import math
from typing import Literal

import torch
from torch import Tensor

Coupling = Literal["independent", "optimal"]


def coupled(noise: Tensor, data: Tensor, classes: Tensor | None) -> Tensor:
    """The noise (B, ...) in the order in which its ways to data (B, ...) are shortest together.

    Exact optimal transport of a batch by squared distance (Tong et al. 2024, arXiv:2302.00482).
    With classes (B,) within each of them: across them noise would tell of the class, and what is
    drawn to be made an example of a class does not.
    """
    from scipy.optimize import linear_sum_assignment  # comes with scikit-learn

    # |x - y|^2 = |x|^2 + |y|^2 - 2 xy: only the last depends on who goes where.
    costs = -(data.flatten(1).double() @ noise.flatten(1).double().T)  # (B, B)
    if classes is not None:
        costs = costs.masked_fill(classes[:, None] != classes, math.inf)
    _, order = linear_sum_assignment(costs.cpu().numpy())
    return noise[torch.from_numpy(order).to(noise.device)]
