"""Ways to follow a velocity from one time to another: all but one solve a differential equation.

Each treats every example by itself, so that it becomes the same in any batch.
"""

import itertools
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from trainwright.seeds import generator_for
from trainwright.tasks.flow.paths import Weights, along

Sampler = Literal["euler", "midpoint", "heun", "ddim", "ancestral", "adaptive", "shortcut"]
Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]  # of points, times and rows, each (B, ...)
TOLERANCE = 1e-3  # of a step of the adaptive sampler, beside values of about 1
SMALLEST = 1e-4  # of its steps
# Dormand and Prince 1980: where a step looks, how it adds up, and its error.
_NODES = (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1)
_STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


class Followed(NamedTuple):
    """Where points (B, ...) came to, and how often the velocity was asked for of each, (B,)."""

    points: Tensor
    evaluations: Tensor


def follow(
    velocity: Velocity,
    points: Tensor,
    *,
    sampler: Sampler,
    steps: int,
    path: Callable[[Tensor], Weights],
    begin: float = 0.0,
    end: float = 1.0,
) -> Followed:
    """Move points (B, ...) from time `begin` to `end` in equal steps; adaptive takes its own.

    `heun`: of second order, with an Euler step at the end (Karras et al. 2022, arXiv:2206.00364).
    `midpoint`: of second order, two evaluations a step. `ddim`: exact for what data and noise the
    velocity means (Song et al. 2021, arXiv:2010.02502); on the linear path it is Euler.
    `ancestral`: the same with new noise at each step (Ho et al. 2020, arXiv:2006.11239), whose
    draws follow from the point that it begins with. `shortcut` is Euler, for velocities that are
    of the whole step.
    """
    if sampler == "adaptive":
        return _adaptive(velocity, points, begin, end)
    rows = torch.arange(len(points), device=points.device)
    streams = [_stream(point) for point in points] if sampler == "ancestral" else []
    grid = torch.linspace(begin, end, steps + 1, dtype=torch.float64).tolist()
    for number, (now, then) in enumerate(itertools.pairwise(grid)):
        step = then - now

        def at(points: Tensor, time: float) -> Tensor:
            return velocity(points, points.new_full((len(points),), time), rows)

        first = at(points, now)
        if sampler == "midpoint":
            points = points + step * at(points + step / 2 * first, now + step / 2)
        elif sampler == "heun" and number < steps - 1:
            points = points + step / 2 * (first + at(points + step * first, then))
        elif sampler in ("ddim", "ancestral"):
            begun, ended = (path(points.new_tensor(time)) for time in (now, then))
            points = _turned(points, first, begun, ended, streams)
        else:
            points = points + step * first
    num = {"midpoint": 2 * steps, "heun": 2 * steps - 1}.get(sampler, steps)
    return Followed(points, rows.new_full((len(points),), num))


def _turned(
    points: Tensor, velocity: Tensor, now: Weights, then: Weights, streams: list[torch.Generator]
) -> Tensor:
    """With the data and noise that points and velocities mean now, weighted as they are then.

    With streams of draws, as much of the noise is new as a point of then has beside one of now:
    Song et al. 2021, equation 16, with which its eta = 1 is DDPM, of the smaller variance.
    """
    scale = now.data * now.noise_change - now.data_change * now.noise
    data = (now.noise_change * points - now.noise * velocity) / scale
    noise = (now.data * velocity - now.data_change * points) / scale
    if not streams:
        return then.data * data + then.noise * noise
    lost = (1 - (now.data * then.noise / (now.noise * then.data)).square()).clamp(min=0)
    kept = (1 - lost).sqrt()  # of the deviation of the noise
    drawn = torch.stack([torch.randn(points.shape[1:], generator=one) for one in streams])
    noise = kept * noise + lost.sqrt() * drawn.to(points)
    return then.data * data + then.noise * noise


def _stream(point: Tensor) -> torch.Generator:
    """Draws of a point's own, whatever stands beside it in a batch."""
    return generator_for("ancestral", point.cpu().numpy().tobytes().hex())


def _adaptive(velocity: Velocity, points: Tensor, begin: float, end: float) -> Followed:
    """Dormand and Prince's pair of orders 5 and 4; each example has steps of its own length.

    Raises ValueError where a velocity changes so fast that no step is short enough.
    """
    times = points.new_full((len(points),), begin)
    lengths = points.new_full((len(points),), (end - begin) / 10)
    evaluations = torch.zeros(len(points), dtype=torch.long, device=points.device)
    points = points.clone()
    while len(rows := ((end - times) * (1 if end > begin else -1) > 0).nonzero().flatten()):
        here, time = points[rows], times[rows]
        left = end - time
        is_last = lengths[rows].abs() >= left.abs()
        step = torch.where(is_last, left, lengths[rows])
        slopes: list[Tensor] = []
        for node, weights in zip(_NODES, _STAGES, strict=True):
            moved = sum(
                (w * k for w, k in zip(weights, slopes, strict=True)), torch.zeros_like(here)
            )
            slopes.append(velocity(here + along(here, step) * moved, time + node * step, rows))
        then = here + along(here, step) * moved  # the last stage is where the step ends
        gap = along(here, step) * sum(w * k for w, k in zip(_ERROR, slopes, strict=True))
        allowed = TOLERANCE * torch.maximum(here.abs(), then.abs()).clamp(min=1)
        error = (gap / allowed).flatten(1).square().mean(dim=1).sqrt()  # (R,)
        fits = (error <= 1) | (step.abs() <= SMALLEST)
        if not torch.isfinite(error).all():
            raise ValueError("sampler=adaptive: the velocities are not finite; try sampler=heun")
        points[rows] = torch.where(along(here, fits), then, here)
        times[rows] = torch.where(fits, torch.where(is_last, end, time + step), time)
        factor = (0.9 * error.clamp(min=1e-10) ** -0.2).clamp(0.2, 5)
        lengths[rows] = step * factor
        evaluations[rows] += len(slopes)
    return Followed(points, evaluations)
