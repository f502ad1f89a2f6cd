"""What a network is given: images, numbers, categories."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns.column import (
    BadInputError,
    Column,
    Prepare,
    Scaling,
    number_in,
    place_of,
)
from trainwright.data.images.decode import BadImageError, Fit, decode_image
from trainwright.data.statistics import feature_statistics, image_statistics
from trainwright.wording import format_number


@dataclass(frozen=True)
class Image(Column):
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
        channels, *size = self.size
        if channels not in (1, 3):
            raise BadInputError(f"no image file has {channels} channels")
        try:
            return decode_image(
                folder / cells[0], size=(size[0], size[1]), channels=channels, fit=self.fit
            )
        except BadImageError as error:
            raise BadInputError(str(error)) from None

    def text(self, value: Tensor) -> str:
        """Its size: an image is not for a line."""
        return "x".join(map(str, value.shape))


@dataclass(frozen=True)
class Numbers(Column):
    """The numbers of a table's row, stored as (N, F) float32 in their own units."""

    kind: ClassVar[str] = "numbers"

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    names: tuple[str, ...] = ()  # of the features; empty where they have none

    @property
    def shape(self) -> tuple[int, ...]:
        """(F,)."""
        return (len(self.mean),)

    @property
    def numbers(self) -> Scaling:
        """Mean 0 and deviation 1 over the training rows."""
        return Scaling(
            scale=tuple(1 / std for std in self.std),
            shift=tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True)),
        )

    def fitted(self, name: str, read: Callable[[], Tensor]) -> Self:
        """With the mean and deviation of each feature."""
        mean, std = feature_statistics(name, read(), self.names)
        return replace(self, mean=mean, std=std)

    def is_like(self, other: Column) -> bool:
        """The same features."""
        if not isinstance(other, Numbers):
            return False
        return other.names == self.names and len(other.mean) == len(self.mean)

    def preparation(self, device: torch.device) -> Prepare:
        """Standardised."""
        return self.numbers.prepare(self.shape, device)

    def cell_names(self, name: str) -> tuple[str, ...]:
        """The features."""
        return self.names or tuple(f"column {i + 1}" for i in range(len(self.mean)))

    def read(self, cells: Sequence[str], folder: Path) -> np.ndarray:
        """(F,) float32."""
        return np.array(
            [number_in(cell, name) for cell, name in zip(cells, self.cell_names(""), strict=True)],
            dtype=np.float32,
        )

    def text(self, value: Tensor) -> str:
        """The first few numbers."""
        shown = [format_number(number) for number in value.flatten()[:6].tolist()]
        return " ".join(shown) + (" ..." if value.numel() > len(shown) else "")


@dataclass(frozen=True)
class Categories(Column):
    """Which of a few things each of several features is, stored as (N, F) int64 numbers of them."""

    kind: ClassVar[str] = "categories"

    names: tuple[str, ...] = ()  # of the features
    options: tuple[tuple[str, ...], ...] = ()  # of each feature, in the order of their numbers

    @property
    def shape(self) -> tuple[int, ...]:
        """(F,)."""
        return (len(self.options),)

    @property
    def num_options(self) -> int:
        """Of the feature with the fewest."""
        return min(map(len, self.options), default=0)

    def cell_names(self, name: str) -> tuple[str, ...]:
        """The features."""
        return self.names

    def read(self, cells: Sequence[str], folder: Path) -> np.ndarray:
        """(F,) int64."""
        features = zip(cells, self.options, self.names, strict=True)
        return np.array([place_of(cell, options, name) for cell, options, name in features])

    def text(self, value: Tensor) -> str:
        """The names of what it is."""
        return " ".join(o[int(v)] for v, o in zip(value.tolist(), self.options, strict=True))
