"""Examples become three disjoint splits, and splits become a dataset with the facts about it."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from trainwright.data.dataset import DataInfo, Dataset, Split
from trainwright.errors import ConfigError, DataError

SMALLEST_IMAGE_STD = 1 / 255  # one grey level: a constant channel is centred and left in scale
CHUNK_VALUES = 2**18  # so many values of images are looked at in one go: they fit into a cache


def split_sizes(
    num_examples: int, *, validation: int | float, test: int | float, limit: int | None = None
) -> tuple[int, int, int]:
    """How many examples go to training, validation and test.

    `validation` and `test` are each a count (int) or a share of `num_examples` (float between 0
    and 1, rounded, at least one example); a count of 0 is for sources with a split of their own.
    `limit` caps the training split. Loaders call this before they download anything.

    Raises ConfigError for a wrong size, DataError where there are too few examples to share out.
    """
    if limit is not None and (isinstance(limit, bool) or limit < 1):
        raise ConfigError(f"data.limit is {limit!r}; it must be null or a count of at least 1")
    num_validation = _count("validation", validation, num_examples)
    num_test = _count("test", test, num_examples)
    num_train = num_examples - num_validation - num_test
    if num_train < 1:
        message = (
            f"no training examples are left: of {num_examples}, validation={validation!r} takes "
            f"{num_validation} and test={test!r} takes {num_test}"
        )
        if all(isinstance(size, float) for size in (validation, test)):
            raise DataError(f"{message}\n  the dataset needs at least three examples")
        raise ConfigError(f"{message}\n  choose smaller sizes, or shares such as 0.1")
    return (num_train if limit is None else min(num_train, limit)), num_validation, num_test


def _count(name: str, size: int | float, num_examples: int) -> int:
    if not isinstance(size, bool):
        if isinstance(size, int) and size >= 0:
            return size
        if isinstance(size, float) and 0 < size < 1:
            return max(1, round(size * num_examples))
    raise ConfigError(
        f"data.{name} is {size!r}\n"
        "  it must be a count of examples (a whole number) or a share between 0 and 1, such as 0.1"
    )


def split_indices(
    num_examples: int,
    *,
    validation: int | float,
    test: int | float,
    seed: int,
    classes: Tensor | None = None,
    limit: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Disjoint random indices of the training, validation and test examples, each int64.

    With `classes` (N,) int64 every split, and training cut to `limit`, has the classes in
    proportion, and a class with a single example keeps it for training. The draw depends on
    `seed`, the number of examples and the classes only. Raises as `split_sizes` does.
    """
    num_train, num_validation, num_test = split_sizes(
        num_examples, validation=validation, test=test, limit=limit
    )
    order = torch.randperm(num_examples, generator=torch.Generator().manual_seed(seed))
    if classes is not None:
        order = order[_place_in_class(classes[order]).argsort(stable=True)]
    held_out = num_validation + num_test
    return (
        order[:num_train],
        order[num_examples - held_out : num_examples - num_test],
        order[num_examples - num_test :],
    )


def _place_in_class(classes: Tensor) -> Tensor:
    """How far along its own class each example stands, 0 to 1: (N,) int64 -> (N,) float64.

    Sorted by this, any window of the examples has the classes in proportion.
    """
    by_class = classes.argsort(stable=True)
    counts = torch.bincount(classes)
    starts = counts.cumsum(0) - counts
    grouped = classes[by_class]
    rank = torch.arange(len(classes)) - starts[grouped]
    # The first of each class comes before everything else, so that training sees every class.
    place = torch.where(rank == 0, 0.0, (rank.double() + 0.5) / counts[grouped])
    return torch.empty_like(place).index_put_((by_class,), place)


def take(inputs: Tensor, targets: Tensor | None, indices: Tensor) -> Split:
    """The examples at `indices` as a split: a copy, (len(indices), ...)."""
    return Split(
        inputs.index_select(0, indices),
        None if targets is None else targets.index_select(0, indices),
    )


def split_arrays(
    name: str,
    inputs: Tensor,
    targets: Tensor | None,
    *,
    class_names: Sequence[str] = (),
    validation: int | float = 0.1,
    test: int | float = 0.1,
    split_seed: int = 0,
    limit: int | None = None,
) -> Dataset:
    """A dataset from one array of examples and one of targets: all that a small source needs.

    `inputs` is (N, C, H, W) uint8 for images or (N, F) float32 for tables. `targets` (N,) are
    classes 0, 1, ... if they are whole numbers, values to predict if they are floats; None: there
    is nothing to predict. `class_names` are the numbers themselves where none are given. The
    other arguments are those of `split_indices`. Raises ConfigError, DataError.
    """
    is_classes = targets is not None and not targets.is_floating_point()
    if is_classes:
        assert targets is not None
        targets = targets.long()
        num_classes = int(targets.max()) + 1
        class_names = tuple(class_names) or tuple(str(label) for label in range(num_classes))
        if int(targets.min()) < 0 or num_classes > len(class_names):
            raise DataError(
                f"{name} has targets from {int(targets.min())} to {num_classes - 1}\n"
                f"  classes are numbered from 0; there are {len(class_names)} class names"
            )
    parts = split_indices(
        len(inputs),
        validation=validation,
        test=test,
        seed=split_seed,
        classes=targets if is_classes else None,
        limit=limit,
    )
    train, held_out, last = (take(inputs, targets, indices) for indices in parts)
    return make_dataset(
        name,
        train=train,
        validation=held_out,
        test=last,
        target="classes" if is_classes else "none" if targets is None else "values",
        class_names=class_names,
    )


def make_dataset(
    name: str,
    *,
    train: Split,
    validation: Split,
    test: Split,
    target: Literal["classes", "values", "none"],
    class_names: Sequence[str] = (),
) -> Dataset:
    """Add the facts to three splits; mean and std are taken over the training split.

    Images are read in chunks, so memory-mapped inputs stay on disk. Raises DataError where the
    inputs or targets are not finite.
    """
    if train.inputs.dtype == torch.uint8:
        mean, std = image_statistics(train.inputs)
    else:
        mean, std = feature_statistics(name, train.inputs)
    target_mean: tuple[float, ...] = (0.0,)
    target_std: tuple[float, ...] = (1.0,)
    if target == "values":
        assert train.targets is not None
        target_mean, target_std = feature_statistics(f"{name} targets", train.targets[:, None])
    info = DataInfo(
        name=name,
        input_shape=tuple(train.inputs.shape[1:]),
        target=target,
        class_names=tuple(class_names),
        mean=mean,
        std=std,
        target_mean=target_mean[0],
        target_std=target_std[0],
    )
    return Dataset(info, train=train, validation=validation, test=test)


def image_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of (N, C, H, W) uint8, on the scale 0..1.

    Sums of whole numbers, which a float64 holds exactly in any order: the same on every machine and
    number of threads.
    """
    num_channels = images.shape[1]
    sums, squares = [0] * num_channels, [0] * num_channels
    for chunk in torch.split(images, max(1, CHUNK_VALUES // images[0].numel())):
        for channel in range(num_channels):
            values = chunk[:, channel].flatten().double()
            sums[channel] += int(values.sum())
            squares[channel] += int(values.dot(values))
    n = images.numel() // num_channels
    mean = [s / n / 255 for s in sums]
    variances = [(q * n - s * s) / n**2 for s, q in zip(sums, squares, strict=True)]
    return tuple(mean), tuple(max(v**0.5 / 255, SMALLEST_IMAGE_STD) for v in variances)


def feature_statistics(name: str, table: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each column of (N, F) float32; 1 for a constant column."""
    columns = table.double()
    if not columns.isfinite().all():
        raise DataError(f"{name} holds values that are not finite (NaN or infinite)")
    mean, std = columns.mean(0), columns.std(0, correction=0)
    std = torch.where(std > 1e-6 * mean.abs(), std, 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())
