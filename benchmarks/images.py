"""The images that every side trains on, in memory: MNIST, or drawn where there is none."""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from generated import draw
from torch import Tensor
from works import Work

NUM_TEST = 10_000
NUM_TEST_COLOUR = 1000  # drawn ones are all alike, and the network is slow


@dataclass(frozen=True)
class Images:
    """Images (N, C, H, W) float32 of mean 0 and standard deviation 1, and classes (N,) int64."""

    train: Tensor
    train_classes: Tensor
    test: Tensor
    test_classes: Tensor


def load(work: Work, mnist: Path | None) -> Images:
    """The first `work.num_images` training images, and the test split.

    `mnist` is the folder with MNIST's four files; None: images are drawn. So they are for colour.
    """
    if mnist is None or work.shape[0] == 3:
        train, train_classes = draw(work.num_images, work.shape, seed=0)
        num_test = NUM_TEST_COLOUR if work.shape[0] == 3 else NUM_TEST
        test, test_classes = draw(num_test, work.shape, seed=1)
    else:
        train, train_classes = (_idx(mnist / f"train-{kind}.gz") for kind in _KINDS)
        test, test_classes = (_idx(mnist / f"t10k-{kind}.gz") for kind in _KINDS)
        train, test = train[: work.num_images, None], test[:, None]
    pixels = train.float()
    mean, std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True)
    if work.network == "gan":  # the range of a generator's tanh
        mean, std = torch.tensor(127.5), torch.tensor(127.5)
    return Images(
        (pixels - mean) / std,
        train_classes[: work.num_images].long(),
        (test.float() - mean) / std,
        test_classes.long(),
    )


_KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")


def _idx(path: Path) -> Tensor:
    """One of MNIST's files, as scripts read it."""
    data = gzip.decompress(path.read_bytes())
    num_dimensions = data[3]
    shape = struct.unpack(f">{num_dimensions}I", data[4 : 4 + 4 * num_dimensions])
    return torch.from_numpy(
        np.frombuffer(data, np.uint8, offset=4 + 4 * num_dimensions).reshape(shape).copy()
    )
