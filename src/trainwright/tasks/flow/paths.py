"""Ways from noise to data: at time 0 there is noise, at 1 an example.

A point of the way is x = a(t) data + s(t) noise, and moves with a'(t) data + s'(t) noise: the mean
of that over all examples and draws which lead through a point is the velocity that a network learns
(Lipman et al. 2023, arXiv:2210.02747, theorem 2).
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

PathName = Literal["linear", "cosine"]
Times = Literal["logit_normal", "uniform"]


class Weights(NamedTuple):
    """Those of data and of noise at some times, and how they change: a, s, a', s'."""

    data: Tensor
    noise: Tensor
    data_change: Tensor
    noise_change: Tensor


def linear(times: Tensor) -> Weights:
    """A straight line at constant speed: the rectified flow of Liu et al. 2023."""
    ones = torch.ones_like(times)
    return Weights(times, 1 - times, ones, -ones)


def cosine(times: Tensor) -> Weights:
    """Along a quarter of a circle: the diffusion of Nichol and Dhariwal 2021 (arXiv:2102.09672).

    Its velocity is, but for a factor of pi / 2, the v of Salimans and Ho 2022 (arXiv:2202.00512).
    """
    angle = times * (math.pi / 2)
    sine, cosine = angle.sin(), angle.cos()
    return Weights(sine, cosine, cosine * (math.pi / 2), -sine * (math.pi / 2))


PATHS: dict[PathName, Callable[[Tensor], Weights]] = {"linear": linear, "cosine": cosine}


def drawn_times(kind: Times, num: int, device: torch.device) -> Tensor:
    """(num,) in [0, 1], in order, one in each of as many equal parts of the distribution.

    `logit_normal`: the logistic function of normal draws, so that most are halfway (Esser et al.
    2024, arXiv:2403.03206). A draw for each part: as Kingma et al. 2021 (arXiv:2107.00630).
    """
    shares = (torch.arange(num, device=device) + torch.rand(num, device=device)) / num
    return shares if kind == "uniform" else torch.special.ndtri(shares).sigmoid()


def along(points: Tensor, values: Tensor) -> Tensor:
    """Values (B,) shaped to be multiplied with points (B, ...)."""
    return values.view(-1, *(1 for _ in points.shape[1:]))
