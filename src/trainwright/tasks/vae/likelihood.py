"""What pixels cost, in nats, by what a decoder says of them."""

import math

import torch
from torch import Tensor
from torch.nn import functional

LEVELS = 256  # of a stored pixel


def bernoulli_cost(logits: Tensor, brightness: Tensor) -> Tensor:
    """-log p of white with probability `brightness` in [0, 1], any shape."""
    return functional.binary_cross_entropy_with_logits(logits, brightness, reduction="none")


def gaussian_cost(mean: Tensor, log_scale: Tensor, brightness: Tensor) -> Tensor:
    """-log of the density at brightness in [0, 1], of a normal distribution."""
    squared = ((brightness - mean) * (-log_scale).exp()).square()
    return 0.5 * squared + log_scale + 0.5 * math.log(2 * math.pi)


def logistic_cost(mean: Tensor, log_scale: Tensor, brightness: Tensor) -> Tensor:
    """-log p of one of 256 levels: what a logistic distribution has between its borders.

    The first and the last level have all that is beyond (Kingma et al. 2016, arXiv:1606.04934;
    Salimans et al. 2017, arXiv:1701.05517). With a and b the borders, s(a) - s(b) is
    s(a) s(-b) (1 - exp(b - a)), which loses no digits.
    """
    half = 0.5 / (LEVELS - 1)
    above = (brightness + half - mean) * (-log_scale).exp()
    below = (brightness - half - mean) * (-log_scale).exp()
    is_first, is_last = brightness < half, brightness > 1 - half
    from_above = torch.where(is_last, 0.0, functional.logsigmoid(above))
    from_below = torch.where(is_first, 0.0, functional.logsigmoid(-below))
    between = torch.log(-torch.expm1(below - above))
    return -(from_above + from_below + torch.where(is_first | is_last, 0.0, between))


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of normal distributions from the standard one, in nats, a dimension each."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
