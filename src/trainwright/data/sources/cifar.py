"""CIFAR-10: 60,000 colour photographs of 32x32 pixels, read straight from the archive."""

import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch

from trainwright.data.dataset import INPUTS, TARGETS, Dataset
from trainwright.data.examples import Arrays
from trainwright.data.sources.fetch import data_root, fetch
from trainwright.data.splits import (
    make_dataset,
    require_examples,
    split_indices,
    split_of,
    split_sizes,
)
from trainwright.errors import DataError

ARCHIVE = "cifar-10-binary.tar.gz"
ARCHIVE_SIZE = 170_052_171  # size and hash as in TensorFlow Datasets
ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
URLS = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
)
TRAIN_MEMBERS = tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6))
TEST_MEMBER = "cifar-10-batches-bin/test_batch.bin"
BATCH_SIZE, IMAGE_BYTES = 10_000, 3 * 32 * 32  # a member: for each image its class, then its bytes
MOST_MEMBERS, MOST_BYTES = 16, 200_000_000  # the archive has 8, of 184 MB
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def load_cifar10(
    *,
    root: str | None = None,
    validation: int | float = 5000,
    split_seed: int = 0,
    limit: int | None = None,
) -> Dataset:
    """CIFAR-10 as (N, 3, 32, 32) uint8, ten classes, the source's own test split.

    The archive is read from `<root>/cifar10/` and downloaded where it is missing.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html. Raises ConfigError for wrong split sizes,
    DataError for an archive that is missing or damaged.
    """
    num_train = len(TRAIN_MEMBERS) * BATCH_SIZE
    _, num_held_out, _ = split_sizes(num_train, validation=validation, test=0, limit=limit)
    require_examples("cifar10", {"validation": range(num_held_out)})
    path = fetch(
        URLS, data_root(root) / "cifar10" / ARCHIVE, sha256=ARCHIVE_SHA256, size=ARCHIVE_SIZE
    )
    batches = read_archive(path)
    images, classes = (
        torch.cat([batches[member].columns[name] for member in TRAIN_MEMBERS])
        for name in (INPUTS, TARGETS)
    )
    both = split_of(images, classes)
    train, held_out, _ = split_indices(
        num_train,
        validation=validation,
        test=0,
        seed=split_seed,
        classes=classes,
        limit=limit,
    )
    return make_dataset(
        "cifar10",
        train=both.taken(train),
        validation=both.taken(held_out),
        test=batches[TEST_MEMBER],
        target="classes",
        class_names=CLASS_NAMES,
    )


def read_archive(path: Path) -> dict[str, Arrays]:
    """The six batches of the archive by the names of its members, 10,000 images each.

    Only those six are read, by exact name and size, into memory: nothing is extracted to disk
    and no link is followed. Raises DataError for any other archive.
    """
    wanted = {*TRAIN_MEMBERS, TEST_MEMBER}
    batches: dict[str, Arrays] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            num_bytes = 0
            for num_members, member in enumerate(archive, start=1):
                num_bytes += max(member.size, 0)
                if num_members > MOST_MEMBERS or num_bytes > MOST_BYTES:
                    raise DataError(
                        f"{path} holds more than {MOST_MEMBERS} files or {MOST_BYTES:,} bytes"
                    )
                if member.name in wanted and member.name not in batches:
                    batches[member.name] = _read_batch(archive, member, path)
                if len(batches) == len(wanted):
                    return batches
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole tar.gz archive: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    raise DataError(f"{path} lacks {', '.join(sorted(wanted - batches.keys()))}")


def _read_batch(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> Arrays:
    expected = BATCH_SIZE * (1 + IMAGE_BYTES)
    file = archive.extractfile(member) if member.isreg() and member.size == expected else None
    if file is None:
        kind = f"has {member.size:,} bytes" if member.isreg() else "is no plain file"
        raise DataError(f"{path}: {member.name} {kind}; right would be {expected:,} bytes")
    records = np.frombuffer(bytearray(file.read(expected)), dtype=np.uint8)
    if len(records) < expected:
        raise DataError(f"{path}: {member.name} ends after {len(records):,} of {expected:,} bytes")
    rows = torch.from_numpy(records).view(BATCH_SIZE, 1 + IMAGE_BYTES)
    classes = rows[:, 0].long()
    if classes.max() >= len(CLASS_NAMES):
        raise DataError(f"{path}: {member.name} has a class {classes.max()}; right would be 0 to 9")
    return split_of(rows[:, 1:].reshape(BATCH_SIZE, 3, 32, 32), classes)
