"""Images that are drawn, for where there is no data: ten noisy patterns that a network can learn.

Also a dataset for `train data=generated` (benchmarks/configs), so that all sides see the same, and
one of images that lie in a file, for scaling.py and streaming.py.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainwright.data.dataset import Dataset
from trainwright.data.splits import make_dataset, split_of

NUM_CLASSES = 10


def draw(num_images: int, shape: tuple[int, int, int], *, seed: int) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) uint8 and their classes (N,) int64: a pattern a class, and noise."""
    coarse = torch.rand(NUM_CLASSES, shape[0], 4, 4, generator=torch.Generator().manual_seed(7))
    patterns = functional.interpolate(coarse, size=shape[1:], mode="bilinear") * 160
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(NUM_CLASSES, (num_images,), generator=generator)
    images = torch.empty(num_images, *shape, dtype=torch.uint8)
    for start in range(0, num_images, 10_000):
        part = classes[start : start + 10_000]
        noise = torch.randint(0, 96, (len(part), *shape), dtype=torch.uint8, generator=generator)
        images[start : start + 10_000] = patterns[part].to(torch.uint8) + noise
    return images, classes


def load_generated(
    *, num_images: int = 55_000, num_test: int = 10_000, shape: tuple[int, int, int]
) -> Dataset:
    """`num_images` to train on, as many as the peers have, and small splits beside them."""
    train, validation, test = (
        split_of(*draw(count, shape, seed=seed))
        for seed, count in ((0, num_images), (2, num_test // 2), (1, num_test))
    )
    return make_dataset(
        "generated",
        train=train,
        validation=validation,
        test=test,
        target="classes",
        class_names=tuple(map(str, range(NUM_CLASSES))),
    )


def load_stored(*, path: str, mapped: bool = False) -> Dataset:
    """Images that were written before: <path>.images.npy and <path>.classes.npy.

    A thousandth of them is for validation and for the test, cut off without a copy.
    """
    stem = Path(path)
    images = np.load(stem.with_suffix(".images.npy"), mmap_mode="c" if mapped else None)
    mapping = images.base if mapped else None
    inputs = torch.from_numpy(images)
    classes = torch.from_numpy(np.load(stem.with_suffix(".classes.npy")))
    small = max(1, len(inputs) // 1000)
    parts = [slice(0, -2 * small), slice(-2 * small, -small), slice(-small, None)]
    train, validation, test = (split_of(inputs[part], classes[part], mapping) for part in parts)
    return make_dataset(
        "stored",
        train=train,
        validation=validation,
        test=test,
        target="classes",
        class_names=tuple(map(str, range(NUM_CLASSES))),
    )
