"""Images from a trained generator: from a seed, of a class, or on the way between two latents."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from trainwright.nn.gan import GAN
from trainwright.progress import counted
from trainwright.seeds import generator_for
from trainwright.tasks.show import Samples

BATCH = 256  # images that are made at once


def draw(model: GAN, num: int, *, seed: int, classes: Sequence[int] = ()) -> Samples:
    """`num` images; a class-conditional GAN takes the classes in turn, by default all of them."""
    latents = torch.randn(num, model.latent_dim, generator=generator_for(seed, "sample"))
    num_classes = len(classes) or model.num_classes
    columns = num_classes if 1 < num_classes <= 20 else math.ceil(math.sqrt(num))
    kinds = _in_turn(model, num, classes)
    return Samples(images_of(model, latents, kinds), kinds, columns)


def interpolate(
    model: GAN,
    num: int,
    *,
    frames: int,
    seed: int,
    classes: Sequence[int] = (),
    purpose: str = "interpolate",
) -> Samples:
    """`num` strips of `frames` images, from one latent to another: (num * frames, C, H, W).

    Latents of a normal distribution lie near a sphere, so the way between two is along it (White
    2016, arXiv:1609.04468): on a straight line they would be shorter in the middle than any that
    the generator has seen. Each strip keeps its class.
    """
    ends = torch.randn(2, num, model.latent_dim, generator=generator_for(seed, purpose))
    shares = torch.linspace(0, 1, frames)
    latents = torch.stack([slerp(ends[0], ends[1], float(share)) for share in shares], dim=1)
    kinds = _in_turn(model, num, classes)  # (num,)
    repeated = None if kinds is None else kinds.repeat_interleave(frames)
    # (num, frames, Z) -> (num * frames, Z)
    return Samples(images_of(model, latents.flatten(0, 1), repeated), repeated, frames)


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


def images_of(model: GAN, latents: Tensor, classes: Tensor | None) -> Tensor:
    """The images (N, C, H, W) in [0, 1], on the CPU, of latents (N, Z) and classes (N,)."""
    device = next(model.generator.parameters()).device
    parts = []
    for start in counted(range(0, len(latents), BATCH), "generating"):
        window = slice(start, start + BATCH)
        given = None if classes is None else classes[window].to(device)
        images = model.generator(latents[window].to(device), given)
        parts.append(((images.float() + 1) / 2).clamp(0, 1).cpu())
    return torch.cat(parts)


def _in_turn(model: GAN, num: int, classes: Sequence[int]) -> Tensor | None:
    if not model.num_classes:
        return None
    chosen = torch.tensor(classes or range(model.num_classes))
    return chosen[torch.arange(num) % len(chosen)]
