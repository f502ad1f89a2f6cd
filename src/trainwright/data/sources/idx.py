"""MNIST, Fashion-MNIST and KMNIST: three datasets of 70,000 images in the IDX format."""

import gzip
import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainwright.data.dataset import Dataset
from trainwright.data.sources.fetch import data_root, fetch
from trainwright.data.splits import (
    make_dataset,
    require_examples,
    split_indices,
    split_of,
    split_sizes,
)
from trainwright.errors import DataError

NUM_TRAIN, NUM_TEST, IMAGE_SIZE = 60_000, 10_000, 28
UNSIGNED_BYTE = 0x08  # the type code of the IDX format; the only one read here
LARGEST_DEFLATE_RATIO = 1032  # https://zlib.net/zlib_tech.html


class Source(NamedTuple):
    """Where a dataset's four files come from: size in bytes and SHA-256 of each."""

    mirrors: tuple[str, ...]
    files: dict[str, tuple[int, str]]
    class_names: tuple[str, ...]


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"

SOURCES = {
    # http://yann.lecun.com/exdb/mnist
    "mnist": Source(
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        files={
            TRAIN_IMAGES: (
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            TRAIN_LABELS: (
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            TEST_IMAGES: (
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            TEST_LABELS: (
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        },
        class_names=tuple("0123456789"),
    ),
    # https://github.com/zalandoresearch/fashion-mnist; sizes and hashes as in TensorFlow Datasets
    "fashion_mnist": Source(
        mirrors=(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        files={
            TRAIN_IMAGES: (
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            TRAIN_LABELS: (
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            TEST_IMAGES: (
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            TEST_LABELS: (
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        },
        class_names=(
            "t-shirt",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
    ),
    # http://codh.rois.ac.jp/kmnist; sizes and hashes as in TensorFlow Datasets
    "kmnist": Source(
        mirrors=("https://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        files={
            TRAIN_IMAGES: (
                18_165_135,
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            ),
            TRAIN_LABELS: (
                29_497,
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            ),
            TEST_IMAGES: (
                3_041_136,
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            ),
            TEST_LABELS: (
                5_120,
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
            ),
        },
        class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
}


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
    _, num_held_out, _ = split_sizes(NUM_TRAIN, validation=validation, test=0, limit=limit)
    require_examples(name, {"validation": range(num_held_out)})
    source = SOURCES[name]
    folder = data_root(root) / name
    arrays = {}
    for file, (size, sha256) in source.files.items():
        urls = [mirror + file for mirror in source.mirrors]
        arrays[file] = read_idx(fetch(urls, folder / file, sha256=sha256, size=size))
    images = arrays[TRAIN_IMAGES][:, None]  # (N, 28, 28) -> (N, 1, 28, 28)
    classes = arrays[TRAIN_LABELS].long()
    both = split_of(images, classes)
    train, held_out, _ = split_indices(
        len(images), validation=validation, test=0, seed=split_seed, classes=classes, limit=limit
    )
    return make_dataset(
        name,
        train=both.taken(train),
        validation=both.taken(held_out),
        test=split_of(arrays[TEST_IMAGES][:, None], arrays[TEST_LABELS].long()),
        target="classes",
        class_names=source.class_names,
    )


def read_idx(path: Path) -> Tensor:
    """The array of bytes in an IDX file, plain or gzipped (by its name's `.gz`): uint8.

    Nothing is allocated before the file is seen to be long enough for what its header says.
    Format: http://yann.lecun.com/exdb/mnist. Raises DataError for any other file, a shorter or
    longer one among them.
    """
    is_gzip = path.suffix == ".gz"
    try:
        num_bytes = path.stat().st_size
        if is_gzip:
            with gzip.open(path, "rb") as file:
                return _read(file, path, at_most=num_bytes * LARGEST_DEFLATE_RATIO)
        with path.open("rb") as file:
            return _read(file, path, at_most=num_bytes)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is not a whole gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _read(file: BufferedReader | gzip.GzipFile, path: Path, *, at_most: int) -> Tensor:
    """Header, then exactly what it promises; `at_most` bounds what the file can hold."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != bytes((0, 0, UNSIGNED_BYTE)) or not 1 <= magic[3] <= 4:
        raise DataError(
            f"{path} is not an IDX file of bytes\n"
            f"  it starts with {magic.hex(' ') or 'nothing'}; right would be 00 00 08 and 01 to 04"
        )
    num_dimensions = magic[3]
    header = file.read(4 * num_dimensions)
    if len(header) < 4 * num_dimensions:
        raise DataError(f"{path} ends within its header")
    shape = struct.unpack(f">{num_dimensions}I", header)
    expected = math.prod(shape)
    at_most -= len(magic) + len(header)
    if expected == 0 or expected > at_most:
        raise DataError(
            f"{path}: the header says {' x '.join(map(str, shape))} = {expected:,} bytes, "
            f"the file can hold 1 to {at_most:,}"
        )
    data = np.empty(expected, dtype=np.uint8)
    filled = 0
    while filled < expected:
        count = file.readinto(data[filled:].data)
        if not count:
            raise DataError(f"{path} ends after {filled:,} of {expected:,} bytes")
        filled += count
    if file.read(1):  # at its end a gzip file is also held against its checksum
        raise DataError(f"{path} goes on after the {expected:,} bytes that its header promises")
    return torch.from_numpy(data.reshape(shape))
