"""What a network is given that runs in time: signals of one channel or several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns.column import BadInputError, Column, Prepare, Scaled, Scaling
from trainwright.data.statistics import feature_statistics


@dataclass(frozen=True)
class Series(Scaled):
    """A time series of `length` steps, stored as (N, T, C) float32 in its own units.

    A network sees mean 0 and deviation 1 of each channel over the training examples.
    """

    kind: ClassVar[str] = "series"
    read_from: ClassVar[Literal["file", "cells"]] = "file"

    length: int = 0  # T
    mean: tuple[float, ...] = ()  # of each channel
    std: tuple[float, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, C)."""
        return (self.length, len(self.mean))

    @property
    def numbers(self) -> Scaling:
        """The scaling in numbers, of each channel."""
        return Scaling(
            scale=tuple(1 / std for std in self.std),
            shift=tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True)),
        )

    def constants(self) -> dict[str, Tensor]:
        """Scale and shift, (1, 1, C): the channels come last."""
        named = zip(("scale", "shift"), self.numbers, strict=True)
        return {name: torch.tensor(numbers).view(1, 1, -1) for name, numbers in named}

    def preparation(self, device: torch.device) -> Prepare:
        """Standardised."""
        scale, shift = (tensor.to(device) for tensor in self.constants().values())
        return lambda stored: torch.addcmul(shift, stored.float(), scale)

    def fitted(self, name: str, read: Callable[[], Tensor]) -> Self:
        """With the length, and the mean and deviation of each channel."""
        stored = read()
        mean, std = feature_statistics(name, stored.flatten(0, 1))
        return replace(self, length=stored.shape[1], mean=mean, std=std)

    def is_like(self, other: Column) -> bool:
        """Series of as many channels, however long."""
        return isinstance(other, Series) and len(other.mean) == len(self.mean)

    def read(self, cells: Sequence[str], folder: Path) -> np.ndarray:
        """(T, C) float32 of a .npy file; of one channel also (T,)."""
        return self.of_file(folder / cells[0])

    def of_file(self, file: Path | BinaryIO) -> np.ndarray:
        """The same, of its bytes as well."""
        try:
            mode: Literal["r"] | None = "r" if isinstance(file, Path) else None
            found = np.load(file, allow_pickle=False, mmap_mode=mode)
        except OSError as error:
            raise BadInputError(error.strerror or "cannot be read") from None
        except (ValueError, EOFError, MemoryError):
            raise BadInputError("no .npy file of numbers") from None
        return self.taken(found, "")

    def schema(self, name: str) -> dict[str, dict[str, Any]]:
        """The steps, each with its channels."""
        step = {"type": "array", "items": {"type": "number"}}
        return {name: {"type": "array", "items": step, "size": list(self.shape)}}

    def taken(self, value: Any, name: str) -> np.ndarray:
        """(T, C) float32 of the path of a .npy file, or of an array."""
        if isinstance(value, str | Path):
            return self.read([str(value)], Path())
        values = np.asarray(value)
        values = values[:, None] if values.ndim == 1 else values
        if values.shape != self.shape or values.dtype.kind not in "iufb":
            has, wanted = ("x".join(map(str, shape)) for shape in (values.shape, self.shape))
            raise BadInputError(f"{has} of {values.dtype}, and the run has learned {wanted}")
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise BadInputError("has values that are not finite")
        return values

    def text(self, value: Tensor) -> str:
        """Its size: a series is not for a line."""
        return "x".join(map(str, value.shape))
