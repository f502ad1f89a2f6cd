"""What a discriminator is shown of real images and fakes alike: changed, and noisy, or as they are.

Both lead gradients through to the image, so that a generator learns from them.
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

DiffAugment = Literal["color", "translation", "cutout"]

SHIFT = 0.125  # of a side; these are the shares of the paper
HOLE = 0.5


class View:
    """Differentiable augmentation, then instance noise that fades away as the run goes on.

    `augment`: Zhao et al. 2020 (arXiv:2006.10738), in the order given; every example draws its own.
    `instance_noise`: the standard deviation at the start, falling in a straight line to 0 at the
    end (Sønderby et al. 2017, arXiv:1610.04490, section 3), for pixels in [-1, 1].
    """

    def __init__(self, augment: Sequence[DiffAugment], instance_noise: float) -> None:
        unknown = [name for name in augment if name not in get_args(DiffAugment)]
        if unknown:
            known = ", ".join(get_args(DiffAugment))
            raise ValueError(f"diff_augment={list(augment)}: {unknown[0]!r} is not one of {known}")
        if len(set(augment)) < len(augment):
            raise ValueError(f"diff_augment={list(augment)} names the same change twice")
        if instance_noise < 0:
            raise ValueError(f"instance_noise={instance_noise} is below 0")
        self._changes = [_CHANGES[name] for name in augment]
        self._noise = instance_noise

    @property
    def fades(self) -> bool:
        """Whether what is shown depends on the share of the run that is done."""
        return self._noise > 0

    def __call__(self, images: Tensor, progress: float) -> Tensor:
        """Images (B, C, H, W) as the discriminator is shown them at this share of the run."""
        for change in self._changes:
            images = change(images)
        if self._noise and progress < 1:
            images = images + self._noise * (1 - progress) * torch.randn_like(images)
        return images


def color(images: Tensor) -> Tensor:
    """Brightness moved by up to 0.5, saturation times 0 to 2, contrast times 0.5 to 1.5."""
    brightness, saturation, contrast = (
        torch.rand(len(images), 1, 1, 1, device=images.device, dtype=images.dtype) for _ in range(3)
    )
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)  # (B, 1, H, W)
    images = torch.lerp(grey, images, 2 * saturation)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    return torch.lerp(mean, images, contrast + 0.5)


def translation(images: Tensor) -> Tensor:
    """Moved by up to an eighth of either side, by whole pixels; what comes in is 0."""
    places, inside = zip(*(_moved(images, axis) for axis in (2, 3)), strict=True)
    rows, columns = places  # (B, H), (B, W)
    source = (rows[:, :, None] * images.shape[3] + columns[:, None, :]).flatten(1)  # (B, H * W)
    source = source[:, None].expand(-1, images.shape[1], -1)
    kept = inside[0][:, None, :, None] & inside[1][:, None, None, :]  # (B, 1, H, W)
    moved: Tensor = images.flatten(2).gather(2, source).view_as(images) * kept
    return moved


def cutout(images: Tensor) -> Tensor:
    """A window of half of either side, its centre anywhere, set to 0."""
    rows, columns = (_hole(images, axis) for axis in (2, 3))  # (B, H), (B, W)
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])


_CHANGES: dict[DiffAugment, Callable[[Tensor], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}


def _moved(images: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Where each place of a moved image comes from, and whether that is inside: (B, length)."""
    length, device = images.shape[axis], images.device
    reach = int(length * SHIFT + 0.5)
    offsets = torch.randint(-reach, reach + 1, (len(images), 1), device=device)
    places = torch.arange(length, device=device) - offsets
    return places.clamp(0, length - 1), (places >= 0) & (places < length)


def _hole(images: Tensor, axis: int) -> Tensor:
    """Whether each place is in the hole: (B, length). At a border the hole is cut off."""
    length, device = images.shape[axis], images.device
    size = int(length * HOLE + 0.5)
    centres = torch.randint(0, length + (1 - size % 2), (len(images), 1), device=device)
    places = torch.arange(length, device=device) - (centres - size // 2)
    return (places >= 0) & (places < size)
