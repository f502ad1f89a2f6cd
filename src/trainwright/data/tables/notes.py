"""What a person is told of a table before a network is trained on it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainwright.data.columns import Classes, Column, Labels, Values
from trainwright.data.tables.kinds import Found
from trainwright.wording import format_number, printable

MOST_COLUMNS, MOST_CLASSES = 40, 12  # that are told one by one
SPLITS = ("train", "validation", "test")


def about_columns(columns: Sequence[Found]) -> list[str]:
    """A line a column, and warnings."""
    shown = columns[:MOST_COLUMNS]
    width = min(30, max((len(column.name) for column in shown), default=0))
    notes = [f"  {printable(c.name)[:30]:<{width}}  {c.kind:<8}  {c.told}" for c in shown]
    if len(columns) > len(shown):
        kinds = Counter(column.kind for column in columns[len(shown) :])
        more = ", ".join(f"{num:,} of {kind}" for kind, num in kinds.items())
        notes.append(f"  and more columns: {more}")
    warned = [column for column in columns if column.warning]
    return notes + [f"  warning: {printable(c.name)[:40]}: {c.warning}" for c in warned]


def about_targets(names: Sequence[str], column: Column, stored: NDArray[Any]) -> list[str]:
    """What is to be learned, with the number of examples a class."""
    name = printable(", ".join(names))[:60]
    if isinstance(column, Classes):
        counts = np.bincount(stored, minlength=len(column.names)).tolist()
        pairs = list(zip(column.names, counts, strict=True))
        shown = ", ".join(f"{printable(c)[:20]}: {n:,}" for c, n in pairs[:MOST_CLASSES])
        more = f", and {len(pairs) - MOST_CLASSES:,} more" if len(pairs) > MOST_CLASSES else ""
        notes = [f"  target {name}: {len(pairs)} classes: {shown}{more}"]
        alone = [c for c, n in pairs if n == 1]
        if alone:
            some = printable(", ".join(alone[:3]))[:60]
            notes.append(f"  warning: a class of one row is trained on and never tested: {some}")
        return notes
    if isinstance(column, Labels):
        shares = stored.mean(axis=0).tolist()
        told = [
            f"{printable(c)[:20]} {100 * s:.0f} %"
            for c, s in zip(column.names, shares, strict=True)
        ]
        return [f"  targets, any of them at once: {', '.join(told[:MOST_CLASSES])}"]
    assert isinstance(column, Values)
    low, high = format_number(float(stored.min())), format_number(float(stored.max()))
    scale = "; learned as logarithms, for its tail is long" if column.unit else ""
    return [f"  target {name}: a value, {low} to {high}{scale}"]


def about_copies(arrays: Sequence[NDArray[Any]], counts: Mapping[str, int]) -> list[str]:
    """What to say of test and validation rows that stand in training, too."""
    keys = np.zeros(len(arrays[0]), dtype=np.uint64)
    for seed, array in enumerate(arrays):
        keys += _keys(array, seed)
    train, held_out, last = np.split(keys, np.cumsum([counts[name] for name in SPLITS])[:-1])
    told = []
    for name, part in (("test", last), ("validation", held_out)):
        num = int(np.isin(part, train).sum())
        if num:
            told.append(f"{num:,} of the {len(part):,} {name} rows")
    if not told:
        return []
    return [f"  warning: {' and '.join(told)} are in training, too: they flatter what is measured"]


def _keys(array: NDArray[Any], seed: int) -> NDArray[np.uint64]:
    """A number by what stands in each row.

    Of a million rows two that differ have the same once in ten million times.
    """
    flat = array.reshape(len(array), -1)
    words_a_row = flat.shape[1] * max(1, flat.itemsize // 4)
    generator = np.random.default_rng(seed)
    odd = generator.integers(2**63, size=words_a_row, dtype=np.uint64) * 2 + 1
    keys = np.zeros(len(flat), dtype=np.uint64)
    for start in range(0, len(flat), 2**16):
        part = np.ascontiguousarray(flat[start : start + 2**16])
        words = part.view(np.uint32) if part.itemsize >= 4 else part
        products = (words.astype(np.uint64) + 1) * odd
        keys[start : start + len(part)] = (products ^ (products >> 29)).sum(axis=1)
    return keys
