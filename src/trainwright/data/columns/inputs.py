"""What a network is given: images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns.column import (
    BadInputError,
    Column,
    Prepare,
    Scaled,
    Scaling,
)
from trainwright.data.images.decode import BadImageError, Fit, decode_image, fitted
from trainwright.data.statistics import image_statistics


@dataclass(frozen=True)
class Image(Scaled):
    """Pixels, stored as (N, C, H, W) uint8. `mean` and `std` are per channel, of pixels in 0..1.

    `scaling`: a network sees mean 0 and deviation 1 over the training images (standard), -1..1
    (symmetric), or 0..1 (unit). `fit`: how an image of another size is brought to this one.
    """

    kind: ClassVar[str] = "image"
    read_from: ClassVar[Literal["file", "cells"]] = "file"

    size: tuple[int, int, int] = (0, 0, 0)  # (C, H, W)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scaling: Literal["standard", "symmetric", "unit"] = "standard"
    fit: Fit = "crop"

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return self.size

    @property
    def numbers(self) -> Scaling:
        """The scaling in numbers."""
        channels = self.size[0]
        if self.scaling == "symmetric":
            return Scaling(scale=(2 / 255,) * channels, shift=(-1.0,) * channels)
        if self.scaling == "unit":
            return Scaling(scale=(1 / 255,) * channels, shift=(0.0,) * channels)
        return Scaling(
            scale=tuple(1 / (255.0 * std) for std in self.std),
            shift=tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True)),
        )

    def fitted(self, name: str, read: Callable[[], Tensor]) -> Self:
        """With the size, mean and deviation of the training images."""
        stored = read()
        mean, std = image_statistics(stored)
        size = (stored.shape[1], stored.shape[2], stored.shape[3])
        return replace(self, size=size, mean=mean, std=std)

    def is_like(self, other: Column) -> bool:
        """Images with as many channels, whatever their size."""
        return isinstance(other, Image) and other.size[0] == self.size[0]

    @property
    def prepared_with(self) -> Mapping[str, Any]:
        """How image files were brought to one size and number of channels."""
        channels, height, width = self.size
        found: dict[str, Any] = {"fit": self.fit}
        if channels in (1, 3):
            found["channels"] = channels
        if height == width:
            found["size"] = height
        return found

    def preparation(self, device: torch.device) -> Prepare:
        """To float32, scaled."""
        return self.numbers.prepare(self.size, device)

    def read(self, cells: Sequence[str], folder: Path) -> np.ndarray:
        """(C, H, W) uint8 of an image file, brought to the size of the training images."""
        return self.of_file(folder / cells[0])

    def of_file(self, file: Path | BinaryIO) -> np.ndarray:
        """The same, of its bytes as well."""
        channels, *size = self.size
        if channels not in (1, 3):
            raise BadInputError(f"no image file has {channels} channels")
        try:
            return decode_image(file, size=(size[0], size[1]), channels=channels, fit=self.fit)
        except BadImageError as error:
            raise BadInputError(str(error)) from None

    def schema(self, name: str) -> dict[str, dict[str, Any]]:
        """The bytes of a file in base64."""
        media = {"contentEncoding": "base64", "contentMediaType": "image/png"}
        facts = {"size": list(self.size), "mean": [round(mean, 3) for mean in self.mean]}
        return {name: {"type": "string", **media, **facts}}

    def taken(self, value: Any, name: str) -> np.ndarray:
        """(C, H, W) uint8 of a file's path, a Pillow image, or an array (H, W) or (H, W, 3)."""
        from PIL import Image as Pillow

        if isinstance(value, str | Path):
            return self.read([str(value)], Path())
        channels, *size = self.size
        try:
            if isinstance(value, list):
                value = _bytes_in(value)
            if not isinstance(value, Pillow.Image):
                value = Pillow.fromarray(np.asarray(value))
            return fitted(value, (size[0], size[1]), channels=channels, fit=self.fit)
        except BadImageError as error:
            raise BadInputError(str(error)) from None
        except (TypeError, ValueError, AttributeError):
            kind = type(value).__name__
            raise BadInputError(
                f"a {kind}; right would be a path, a Pillow image, or bytes (H, W) or (H, W, 3)"
            ) from None

    def text(self, value: Tensor) -> str:
        """Its size: an image is not for a line."""
        return "x".join(map(str, value.shape))


def _bytes_in(rows: list[Any]) -> np.ndarray:
    """Rows of whole numbers from 0 to 255 as bytes. Raises ValueError for other lists."""
    values = np.asarray(rows)
    if values.ndim not in (2, 3) or values.dtype.kind not in "iu" or not values.size:
        raise ValueError
    if values.min() < 0 or values.max() > 255:
        raise BadInputError("has numbers that are no bytes: pixels are from 0 to 255")
    return values.astype(np.uint8)
