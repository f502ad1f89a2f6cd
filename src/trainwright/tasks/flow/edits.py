"""An image that is changed: brought back to noise a share of the way, or where a mask says so."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from trainwright.tasks.flow.paths import Weights, along


@dataclass(frozen=True)
class Edit:
    """An image (1, C, H, W) that is made anew from time `begin` on.

    `is_new` (1, 1, H, W): only there; None: everywhere.
    """

    image: Tensor
    is_new: Tensor | None
    begin: float
    path: Callable[[Tensor], Weights]

    @classmethod
    def of(
        cls,
        read: Callable[[Path, str], Tensor],
        path: Callable[[Tensor], Weights],
        *,
        edit: Path,
        mask: Path | None,
        strength: float | None,
    ) -> Self:
        """What was asked for. `read`: a file and its key to an image (C, H, W) from -1 to 1.

        Raises ValueError for a mask without white, or of another size than the image.
        """
        if strength is None:
            strength = 0.5 if mask is None else 1.0
        if not 0 < strength <= 1:
            raise ValueError(f"strength={strength:g} is not a share of the way, above 0 to 1")
        image, is_new = read(edit, "edit")[None], None
        if mask is not None:
            is_new = read(mask, "mask")[None].mean(dim=1, keepdim=True) > 0
            sizes = [_size(file) for file in (mask, edit)]
            if sizes[0] != sizes[1]:
                found, wanted = ("x".join(map(str, size)) for size in sizes)
                raise ValueError(f"mask={mask} has {found} pixels, and edit={edit} {wanted}")
            if not is_new.any():
                raise ValueError(f"mask={mask} is black: what is white in it is made anew")
        return cls(image, is_new, 1 - strength, path)

    def points(self, noise: Tensor) -> Tensor:
        """Where images begin whose noise (B, C, H, W) is this."""
        weights = self.path(noise.new_tensor(self.begin))
        return weights.data * self.image + weights.noise * noise

    def known(self, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """The image on its ways from noise (B, C, H, W), at times (B,), and its velocities there.

        Where it is not to change it is put there whenever the network is asked, so that what is
        made anew has seen it (RePaint, Lugmayr et al. 2022, arXiv:2201.09865, without its returns).
        """
        a, s, a_change, s_change = (along(noise, weight) for weight in self.path(times))
        return a * self.image + s * noise, a_change * self.image + s_change * noise

    def kept(self, made: Tensor) -> Tensor:
        """Images (B, C, H, W) with the known part as it was."""
        return made if self.is_new is None else torch.where(self.is_new, made, self.image)


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image, ImageOps

    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).size
