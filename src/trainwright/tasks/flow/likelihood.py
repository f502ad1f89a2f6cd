"""How likely a flow holds examples: the density of noise, followed along the way."""

import math

import torch
from torch import Tensor

from trainwright.tasks.flow.paths import linear
from trainwright.tasks.flow.samplers import Velocity, follow

LEVELS = 256  # of a stored pixel
EXACT = 16  # numbers of an example up to which a divergence is added up whole
STEPS = 20  # of the midpoint rule for images; a row's numbers are cheap, and have more


def of_levels(images: Tensor) -> Tensor:
    """Images (B, C, H, W) from -1 to 1 whose 256 levels are filled with noise.

    The density of these is a bound for the probability of the levels (Theis et al. 2016,
    arXiv:1511.01844), once a level's width of 2 / 256 is taken into account.
    """
    levels = ((images + 1) * ((LEVELS - 1) / 2)).round()
    return (levels + torch.rand_like(levels)) * (2 / LEVELS) - 1


def log_density(velocity: Velocity, points: Tensor, *, steps: int | None = None) -> Tensor:
    """Nats of points (B, ...) at the end of the way, as a density in their own units, (B,).

    The velocity is followed back to the noise, and its divergence added up: d log p / dt = -div v
    (Chen et al. 2018, arXiv:1806.07366). Of more than 16 numbers that is estimated without bias by
    a draw of signs for each example (Grathwohl et al. 2019, arXiv:1810.01367).
    """
    shape, size = points.shape[1:], points[0].numel()
    is_exact = size <= EXACT
    if is_exact:
        ways = torch.eye(size, device=points.device).view(size, 1, *shape)
    else:
        ways = torch.randint(0, 2, (1, *points.shape), device=points.device) * 2.0 - 1

    def moved(state: Tensor, times: Tensor, rows: Tensor) -> Tensor:
        with torch.enable_grad():
            here = state[:, :-1].view(-1, *shape).detach().requires_grad_()
            there = velocity(here, times, rows)
            divergence = torch.zeros_like(times)
            for number, way in enumerate(ways, 1):
                along = (there * way).sum()
                (change,) = torch.autograd.grad(along, here, retain_graph=number < len(ways))
                divergence += (change * way).flatten(1).sum(dim=1)
        return torch.cat([there.detach().flatten(1), divergence[:, None]], dim=1)

    begin = torch.cat([points.flatten(1), points.new_zeros(len(points), 1)], dim=1)
    steps = steps or (5 * STEPS if is_exact else STEPS)
    found = follow(
        moved, begin, sampler="midpoint", steps=steps, path=linear, begin=1.0, end=0.0
    ).points  # whatever the path: this sampler does not ask
    normal = -0.5 * (found[:, :-1].square() + math.log(2 * math.pi)).sum(dim=1)
    return normal + found[:, -1]
