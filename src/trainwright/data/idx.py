"""MNIST, Fashion-MNIST and KMNIST: three datasets of 70,000 images in the IDX format."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from trainwright.data.dataset import Dataset, Split
from trainwright.data.early import read_source
from trainwright.data.idx_file import read_bytes
from trainwright.data.idx_source import (
    NUM_TRAIN,
    SOURCES,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
)
from trainwright.data.splits import make_dataset, split_indices, split_sizes, take


def load_idx(
    *,
    name: Literal["mnist", "fashion_mnist", "kmnist"] = "mnist",
    root: str | None = None,
    validation: int | float = 5000,
    split_seed: int = 0,
    limit: int | None = None,
) -> Dataset:
    """MNIST or a set of its form: (N, 1, 28, 28) uint8, ten classes, the source's own test split.

    The four files are read from `<root>/<name>/` and downloaded where they are missing.

    Raises ConfigError for wrong split sizes, DataError for files that are missing or damaged.
    """
    split_sizes(NUM_TRAIN, validation=validation, test=0, limit=limit)
    arrays = {file: _tensor(*found) for file, found in read_source(name, root).items()}
    images = arrays[TRAIN_IMAGES][:, None]  # (N, 28, 28) -> (N, 1, 28, 28)
    classes = arrays[TRAIN_LABELS].long()
    train, held_out, _ = split_indices(
        len(images), validation=validation, test=0, seed=split_seed, classes=classes, limit=limit
    )
    return make_dataset(
        name,
        train=take(images, classes, train),
        validation=take(images, classes, held_out),
        test=Split(arrays[TEST_IMAGES][:, None], arrays[TEST_LABELS].long()),
        target="classes",
        class_names=SOURCES[name].class_names,
    )


def read_idx(path: Path) -> Tensor:
    """The array of bytes in an IDX file, as `idx_file.read_bytes` finds it: uint8."""
    return _tensor(*read_bytes(path))


def _tensor(shape: tuple[int, ...], data: bytearray) -> Tensor:
    return torch.frombuffer(data, dtype=torch.uint8).reshape(shape)
