"""Images from a seed, of a class, or on the way between two draws of noise."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from trainwright.progress import counted
from trainwright.seeds import generator_for
from trainwright.tasks.show import Samples

BATCH = 256  # images that are made at once

# Images (B, C, H, W) in [0, 1] of noise (B, ...) and classes (B,), where it is told of these.
Render = Callable[[Tensor, Tensor | None], Tensor]


class Generator(Protocol):
    """What becomes images: noise, and the number of a class where it knows `num_conditions`."""

    num_conditions: int

    @property
    def device(self) -> torch.device:
        """Where its network is."""

    def noise(self, num: int, generator: torch.Generator) -> Tensor:
        """Of `num` images, each drawn from a normal distribution, on the CPU."""


def draw(
    of: Generator, render: Render, num: int, *, seed: int, classes: Sequence[int] = ()
) -> Samples:
    """`num` images; what knows classes takes these in turn, by default all of them."""
    noise = of.noise(num, generator_for(seed, "sample"))
    num_classes = len(classes) or of.num_conditions
    columns = num_classes if 1 < num_classes <= 20 else math.ceil(math.sqrt(num))
    kinds = in_turn(of, num, classes)
    return Samples(images_of(of, render, noise, kinds), kinds, columns)


def interpolate(
    of: Generator,
    render: Render,
    num: int,
    *,
    frames: int,
    seed: int,
    classes: Sequence[int] = (),
    purpose: str = "interpolate",
) -> Samples:
    """`num` strips of `frames` images, from one noise to another: (num * frames, C, H, W).

    Draws of a normal distribution lie near a sphere, so the way between two is along it (White
    2016, arXiv:1609.04468): on a straight line they would be shorter in the middle than any that
    the generator has seen. Each strip keeps its class.
    """
    ends = of.noise(2 * num, generator_for(seed, purpose))
    start, end = ends.flatten(1).chunk(2)
    shares = torch.linspace(0, 1, frames)
    noise = torch.stack([slerp(start, end, float(share)) for share in shares], dim=1)
    kinds = in_turn(of, num, classes)  # (num,)
    repeated = None if kinds is None else kinds.repeat_interleave(frames)
    noise = noise.reshape(num * frames, *ends.shape[1:])
    return Samples(images_of(of, render, noise, repeated), repeated, frames)


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Spherical interpolation of each row: `start` (N, Z) at share 0, `end` (N, Z) at 1.

    Shoemake 1985, "Animating rotation with quaternion curves". Where both rows point the same way
    it is the straight line, which it then tends to.
    """
    cosine = functional.cosine_similarity(start, end, dim=1).clamp(-1, 1)[:, None]  # (N, 1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    is_straight = sine < 1e-4
    safe = torch.where(is_straight, torch.ones_like(sine), sine)
    first = torch.where(is_straight, 1 - share, torch.sin((1 - share) * angle) / safe)
    second = torch.where(is_straight, share, torch.sin(share * angle) / safe)
    return first * start + second * end


def images_of(of: Generator, render: Render, noise: Tensor, classes: Tensor | None) -> Tensor:
    """The images (N, C, H, W) in [0, 1], on the CPU, of noise (N, ...) and classes (N,)."""
    parts = []
    for start in counted(range(0, len(noise), BATCH), "generating"):
        window = slice(start, start + BATCH)
        given = None if classes is None else classes[window].to(of.device)
        parts.append(render(noise[window].to(of.device), given).float().clamp(0, 1).cpu())
    return torch.cat(parts)


def in_turn(of: Generator, num: int, classes: Sequence[int]) -> Tensor | None:
    """The class of each of `num` images (N,); None where classes are unknown."""
    if not of.num_conditions:
        return None
    chosen = torch.tensor(classes or range(of.num_conditions))
    return chosen[torch.arange(num) % len(chosen)]
