"""What every network of a flow is: the velocity of a point at a time, perhaps of a class."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.nn.layers import check_widths

Conditional = bool | Literal["auto"]
NUM_WAVES = 32  # sines and cosines of the time, each
SHORTEST = 1e-3  # of their periods over 2 pi, in units of the whole way


class Velocity(nn.Module):
    """Velocities (B, *shape) of points (B, *shape) at times (B,) in [0, 1].

    Where it knows classes it is told one of each point, or `num_classes` for none of them. Where it
    knows steps (`learn_steps`) it says by which velocity one of 1, 1/2, ... of the way arrives.
    """

    only_for = "flow"

    def __init__(self, shape: tuple[int, ...], num_classes: int, num_context: int) -> None:
        super().__init__()
        self.shape = shape
        self.num_classes = num_classes  # 0: unconditional
        self.by_time = nn.Sequential(
            nn.Linear(2 * NUM_WAVES, num_context), nn.SiLU(), nn.Linear(num_context, num_context)
        )
        self.by_class = nn.Embedding(num_classes + 1, num_context) if num_classes else None
        self.by_step: nn.Embedding | None = None
        self._num_context = num_context

    def learn_steps(self, num_lengths: int) -> None:
        """From now on it is told the length of a step: 1, 2, ... for 1, 1/2, ..., or 0 for none."""
        self.by_step = nn.Embedding(num_lengths + 1, self._num_context)
        nn.init.zeros_(self.by_step.weight)  # at first a step of any length goes on as it begins

    def context(
        self, times: Tensor, classes: Tensor | None, lengths: Tensor | None = None
    ) -> Tensor:
        """(B, num_context) of times, classes and lengths (B,); without these, of none of them."""
        exponents = torch.arange(NUM_WAVES, device=times.device) / (NUM_WAVES - 1)
        angles = times.float()[:, None] / SHORTEST**exponents  # (B, W): 1 to 1000 radians
        found: Tensor = self.by_time(torch.cat([angles.sin(), angles.cos()], dim=1))
        if self.by_class is not None:
            if classes is None:
                classes = torch.full_like(times, self.num_classes, dtype=torch.long)
            found = found + self.by_class(classes)
        if self.by_step is not None:
            if lengths is None:
                lengths = torch.zeros_like(times, dtype=torch.long)
            found = found + self.by_step(lengths)
        return functional.silu(found)


class DenseVelocity(Velocity):
    """Dense layers, each with a gain and a bias by time and class: rows, points, small images."""

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: int,
        widths: tuple[int, ...] = (256, 256, 256),
        conditional: Conditional = "auto",
    ) -> None:
        check_widths("widths", widths)
        super().__init__(input_shape, conditions(conditional, num_classes), widths[0])
        fans = [math.prod(input_shape), *widths]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(fans, widths, strict=False))
        self.modulations = nn.ModuleList(nn.Linear(widths[0], 2 * width) for width in widths)
        self.out = nn.Linear(widths[-1], fans[0])
        begin_small(self.out)

    def forward(
        self,
        points: Tensor,
        times: Tensor,
        classes: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Map points (B, *shape), times, classes and lengths (B,) to velocities (B, *shape)."""
        context = self.context(times, classes, lengths)
        values = points.flatten(1)  # (B, F)
        for layer, modulation in zip(self.layers, self.modulations, strict=True):
            gain, bias = modulation(context).chunk(2, dim=1)
            values = functional.silu(torch.addcmul(bias, layer(values), 1 + gain))
        velocities: Tensor = self.out(values)
        return velocities.view(points.shape)


def conditions(conditional: Conditional, num_classes: int) -> int:
    """How many classes a network is told of: 0 where it is not. Raises ValueError."""
    if conditional not in (True, False, "auto"):
        raise ValueError(f"conditional={conditional!r} is not one of true, false, auto")
    if conditional is True and not num_classes:
        raise ValueError("conditional=true needs data with classes; this has none (auto adapts)")
    return num_classes if conditional else 0


def begin_small(layer: nn.Linear | nn.Conv2d) -> None:
    """Let a layer say next to nothing at first, so that what it is added to is learned first."""
    nn.init.normal_(layer.weight, std=1e-3)
