"""What every dataset becomes: three splits of arrays, and the facts that models are sized from."""

import hashlib
import mmap
from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class DataInfo:
    """The facts about a dataset. Models and tasks receive them; nobody types them twice.

    `mean` and `std` are those of the training split, one per channel for images (on the scale
    0..1, that is after division by 255) and one per feature for tables. `target_mean` and
    `target_std` describe the training targets where these are values, and are 0 and 1 elsewhere.
    """

    name: str
    input_shape: tuple[int, ...]  # (C, H, W) for images, (F,) for tables
    target: Literal["classes", "values", "none"]
    class_names: tuple[str, ...]  # empty unless the targets are classes
    mean: tuple[float, ...]
    std: tuple[float, ...]
    target_mean: float = 0.0
    target_std: float = 1.0
    feature_names: tuple[str, ...] = ()  # of a table, in their order; empty where they have none

    @property
    def is_image(self) -> bool:
        """Whether an example is an image (C, H, W)."""
        return len(self.input_shape) == 3

    @property
    def num_classes(self) -> int:
        """How many classes there are; 0 where the targets are not classes."""
        return len(self.class_names)

    @property
    def num_outputs(self) -> int:
        """How many numbers a network that predicts the target puts out."""
        return self.num_classes if self.target == "classes" else 1


@dataclass(frozen=True)
class Split:
    """One part of a dataset.

    `inputs` is (N, C, H, W) uint8 for images, or (N, F) float32 for tables. `targets` is (N,) int64
    classes, (N,) float32 values, or None. `mapping` is that of the file in which the inputs lie,
    where they are mapped from one.
    """

    inputs: Tensor
    targets: Tensor | None
    mapping: mmap.mmap | None = None

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits and the facts about them."""

    info: DataInfo
    train: Split
    validation: Split
    test: Split


def fingerprint(dataset: Dataset, num_examples: int = 64) -> str:
    """A short hash of the splits' sizes and of so many examples spread over each.

    Two datasets with the same one may still differ; with another they do.
    """
    digest = hashlib.sha256()
    for split in (dataset.train, dataset.validation, dataset.test):
        step = max(1, len(split) // num_examples)
        for values in (split.inputs, split.targets):
            if values is not None:
                digest.update(f"{tuple(values.shape)} {values.dtype}".encode())
                digest.update(values[::step].contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
