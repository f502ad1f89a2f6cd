"""Which rows of a table are trained on, validated with and tested: at random, by group, by time."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.data.splits import Fold, Size, split_indices, split_sizes
from trainwright.errors import ConfigError, DataError

Parts = tuple[Tensor, Tensor, Tensor]  # rows of training, validation, test; sorted


def split_rows(
    num: int,
    *,
    validation: int | float,
    test: Size,
    seed: int,
    limit: int | None,
    classes: Tensor | None = None,
    groups: Sequence[str] | None = None,
    times: NDArray[np.float64] | None = None,
    hashes: NDArray[np.float64] | None = None,
) -> Parts:
    """Disjoint rows, sorted: at random with the `classes` in proportion, or by what else is given.

    All rows of one of `groups` go to one split. By `times` the last rows are the test, those before
    validation. By `hashes`, a number in 0..1 a row, a row stays where it is whatever comes beside
    it. Raises ConfigError, DataError as `split_sizes` does.
    """
    if hashes is not None:
        parts = _by_hash(hashes, validation, test)
    elif groups is not None:
        parts = _by_group(groups, validation, test, seed)
    elif times is not None:
        if isinstance(test, Fold):
            raise ConfigError(
                "data.folds does not go with data.time: the test is what comes last\n"
                "  leave one of them out"
            )
        sizes = split_sizes(num, validation=validation, test=test)
        order = np.argsort(times, kind="stable")
        later = times[order]
        # What happened at one moment stays together, in the later split.
        ends = [int(np.searchsorted(later, later[end])) for end in (sizes[0], sizes[0] + sizes[1])]
        first, second, third = (torch.from_numpy(part) for part in np.split(order, ends))
        parts = first, second, third
    else:
        found = split_indices(
            num, validation=validation, test=test, seed=seed, classes=classes, limit=limit
        )
        return found[0].sort().values, found[1].sort().values, found[2].sort().values
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        if not len(part) and (name == "training" or (validation and test)):
            raise DataError(
                f"no {name} rows: the {num:,} rows cannot be split so\n"
                "  there are too few rows, or too few groups of them"
            )
    train: Tensor = parts[0]
    if limit is not None and limit < len(train):
        kept = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:limit]
        train = train[-limit:] if times is not None and groups is None else train[kept]
    return train.sort().values, parts[1].sort().values, parts[2].sort().values


def _by_hash(hashes: NDArray[np.float64], validation: int | float, test: Size) -> Parts:
    for name, size in (("validation", validation), ("test", test)):
        if not isinstance(size, float | Fold):
            raise ConfigError(
                f"data.{name}={size}: data.split=hash takes shares, such as 0.1, and no counts"
            )
    split_sizes(2**40, validation=validation, test=test)
    if isinstance(test, Fold):
        places = hashes * test.of
        is_test, places = np.floor(places) == test.number, places % 1
        part = np.where(is_test, 2, np.where(places < validation, 1, 0))
    else:
        part = np.where(hashes < test, 2, np.where(hashes < test + validation, 1, 0))
    train, held_out, last = (torch.from_numpy(np.flatnonzero(part == i)) for i in range(3))
    return train, held_out, last


def _by_group(groups: Sequence[str], validation: int | float, test: Size, seed: int) -> Parts:
    """Groups in the order of their hash, until the test has its rows, then validation.

    Of folds each takes the next group when it has the fewest rows.
    """
    _, wanted, last = split_sizes(len(groups), validation=validation, test=test)
    names, inverse, sizes = np.unique(
        np.array(groups, dtype=object).astype(str), return_inverse=True, return_counts=True
    )
    if len(names) < 3:
        raise DataError(
            f"data.group: there are only {len(names)} groups, and each split needs one of its own"
        )
    order = sorted(range(len(names)), key=lambda i: share_of(str(names[i]), seed))
    part = np.zeros(len(names), dtype=np.int64)
    filled = {2: 0, 1: 0}
    if isinstance(test, Fold):
        rows_of = np.zeros(test.of, dtype=np.int64)
        for group in order:
            fold = int(rows_of.argmin())
            rows_of[fold] += sizes[group]
            part[group] = 2 if fold == test.number else 0
        order, filled[2] = [group for group in order if part[group] != 2], last
    for place, group in enumerate(order):
        is_last_one = place == len(order) - 1
        for split, size in ((2, last), (1, wanted)):
            if filled[split] < size and not is_last_one:
                part[group] = split
                filled[split] += int(sizes[group])
                break
    rows = part[inverse]
    train, held_out, tested = (torch.from_numpy(np.flatnonzero(rows == i)) for i in range(3))
    return train, held_out, tested


def share_of(text: str, seed: int) -> float:
    """A number in 0..1 that depends on the text and the seed, and on no other row."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=b"%d" % seed).digest()
    return int.from_bytes(digest[:6]) / 2**48
