"""Images from a trained generator: from a seed, of a class, or on the way between two latents."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from trainwright.errors import ConfigError
from trainwright.inference.trained import Trained
from trainwright.progress import counted
from trainwright.seeds import generator_for
from trainwright.tasks.gan.task import GANTask
from trainwright.wording import nearest

BATCH = 256  # images that are made at once


class Samples(NamedTuple):
    """Images (N, C, H, W) float32 in [0, 1], and their classes (N,) where there are any."""

    images: Tensor
    classes: Tensor | None


def generator_of(trained: Trained) -> GANTask:
    """The task, which has a generator. Raises ConfigError for one that has none."""
    if not isinstance(trained.task, GANTask):
        kind = type(trained.task).__name__.lower()
        raise ConfigError(
            f"this run has no generator to sample from: it is a {kind}\n"
            "  try: runs predict RUN images..., or runs evaluate RUN"
        )
    return trained.task


def class_indices(names: Sequence[str], trained: Trained) -> list[int]:
    """The classes that are asked for, by name or by number from 0. Raises ConfigError."""
    known = trained.info.class_names
    if not generator_of(trained).model.num_classes:
        raise ConfigError("class=...: this GAN was not told of classes; it draws what it likes")
    found = []
    for name in names:
        if name in known:
            found.append(known.index(name))
        elif name.isascii() and name.isdigit() and int(name) < len(known):
            found.append(int(name))
        else:
            listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
            raise ConfigError(
                f"class={name}: there is no such class{nearest(name, known)}\n"
                f"  classes are: {listed}"
            )
    return found


def draw(trained: Trained, num: int, *, seed: int, classes: Sequence[int] = ()) -> Samples:
    """`num` images; a class-conditional GAN takes the classes in turn, by default all of them."""
    task = generator_of(trained)
    latents = torch.randn(num, task.model.latent_dim, generator=generator_for(seed, "sample"))
    return _generate(trained, latents, _in_turn(task, num, classes))


def interpolate(
    trained: Trained, num: int, *, frames: int, seed: int, classes: Sequence[int] = ()
) -> Samples:
    """`num` strips of `frames` images, from one latent to another: (num * frames, C, H, W).

    Latents of a normal distribution lie near a sphere, so the way between two is along it (White
    2016, arXiv:1609.04468); each strip keeps its class.
    """
    task = generator_of(trained)
    ends = torch.randn(2, num, task.model.latent_dim, generator=generator_for(seed, "interpolate"))
    shares = torch.linspace(0, 1, frames)
    latents = torch.stack([slerp(ends[0], ends[1], float(share)) for share in shares], dim=1)
    kinds = _in_turn(task, num, classes)  # (num,)
    return _generate(
        trained,
        latents.flatten(0, 1),  # (num, frames, Z) -> (num * frames, Z)
        None if kinds is None else kinds.repeat_interleave(frames),
    )


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Spherical interpolation of each row: `start` (N, Z) at share 0, `end` (N, Z) at 1.

    Shoemake 1985, "Animating rotation with quaternion curves". Where both rows point the same way
    it is the straight line, which it then tends to.
    """
    unit = torch.nn.functional.normalize
    cosine = (unit(start, dim=1) * unit(end, dim=1)).sum(dim=1, keepdim=True).clamp(-1, 1)  # (N, 1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    is_straight = sine < 1e-4
    safe = torch.where(is_straight, torch.ones_like(sine), sine)
    first = torch.where(is_straight, 1 - share, torch.sin((1 - share) * angle) / safe)
    second = torch.where(is_straight, share, torch.sin(share * angle) / safe)
    return first * start + second * end


def columns_of(trained: Trained, num: int, classes: Sequence[int] = ()) -> int:
    """How many images make a row of a grid: a column a class where there are several."""
    num_classes = len(classes) or generator_of(trained).model.num_classes
    return num_classes if 1 < num_classes <= 20 else math.ceil(math.sqrt(num))


def _in_turn(task: GANTask, num: int, classes: Sequence[int]) -> Tensor | None:
    if not task.model.num_classes:
        return None
    chosen = torch.tensor(classes or range(task.model.num_classes))
    return chosen[torch.arange(num) % len(chosen)]


@torch.no_grad()
def _generate(trained: Trained, latents: Tensor, classes: Tensor | None) -> Samples:
    task, device = generator_of(trained), trained.placement.device
    parts = []
    for start in counted(range(0, len(latents), BATCH), "generating"):
        window = slice(start, start + BATCH)
        given = None if classes is None else classes[window].to(device)
        with trained.placement.autocast():
            images = task.model.generator(latents[window].to(device), given)
        parts.append(((images.float() + 1) / 2).clamp(0, 1).cpu())
    return Samples(torch.cat(parts), classes)
