"""What a table is to predict: classes or values, found from the cells of its target."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainwright.data.columns import Classes, Column, Labels, Values
from trainwright.data.dataset import DataInfo
from trainwright.data.tables.cells import number_of
from trainwright.data.tables.kinds import FEW_ROWS, Reading, is_counted, number_form
from trainwright.data.tables.learn import read_cells
from trainwright.errors import DataError
from trainwright.wording import nearest, printable

MOST_WHOLE = 20  # different whole numbers, up to which they are classes
MOST_CLASSES = 10_000

TargetKind = Literal["class", "value"]
Where = Mapping[str, Callable[[str], str]]
Stored = NDArray[Any]


def target_of(
    cells: Mapping[str, list[str]],
    where: Where,
    names: Sequence[str],
    reading: Reading,
    kind: TargetKind | None,
    learned: DataInfo | None,
) -> tuple[Column, Stored]:
    """The spec of the target, or of several, and its rows as stored.

    Several values, or several columns of two classes, any number of which may hold at once.
    `learned`: the facts of a run, whose target it must be. Raises DataError for what cannot be
    learned.
    """
    if learned is not None:
        column = learned.columns[learned.targets[0]]
        return column, _as_learned(column, cells, where, names, reading)
    kinds = {name: kind or _kind(name, cells[name], where[name], reading) for name in names}
    if len(names) == 1 and kinds[names[0]] == "class":
        return _classes(names[0], cells[names[0]])
    if set(kinds.values()) == {"value"}:
        columns = [_values(name, cells[name], where[name], reading) for name in names]
        stored = np.stack(columns, axis=1).astype(np.float32)
        return Values(names=tuple(names) if len(names) > 1 else ()), (
            stored if len(names) > 1 else stored[:, 0]
        )
    if set(kinds.values()) == {"class"}:
        words = tuple(_yes_or_no(name, cells[name]) for name in names)
        bits = [_numbered(cells[n], pair) for n, pair in zip(names, words, strict=True)]
        return Labels(tuple(names), words), np.stack(bits, axis=1).astype(np.uint8)
    told = ", ".join(f"{printable(name)} is a {kind}" for name, kind in kinds.items())
    raise DataError(
        f"data.target: {told}\n  several targets are learned together where all are values, or "
        "all are yes or no"
    )


def _kind(
    name: str, cells: Sequence[str], where: Callable[[str], str], reading: Reading
) -> TargetKind:
    """Whether a target is a class or a value. Raises DataError where it can be neither."""
    counts = Counter(cells)
    if len(counts) == 1:
        only = printable(cells[0])[:30]
        raise DataError(f"data.target={name}: it is always {only!r}, so there is nothing to learn")
    is_few = len(counts) <= MOST_WHOLE
    how = _form(name, counts, where, reading, is_few)
    if not how:
        if len(cells) >= FEW_ROWS and len(counts) > 0.5 * len(cells):
            raise DataError(
                f"data.target={name}: {len(counts):,} different texts in {len(cells):,} rows: an "
                "id, or free text\n  a class needs several rows to be learned from"
            )
        return "class"
    if is_counted(name, cells):
        raise DataError(
            f"data.target={name}: it counts the rows: an id, which says nothing of them"
        )
    is_whole = all(number_of(cell, how).is_integer() for cell in counts)
    return "class" if is_whole and is_few else "value"


def _form(
    name: str,
    counts: Counter[str],
    where: Callable[[str], str],
    reading: Reading,
    is_few: bool,
) -> str:
    try:
        return number_form(name, counts, where, reading)
    except DataError:
        if is_few:  # such as 1, 2, 3 and "more"
            return ""
        raise


def _classes(name: str, cells: Sequence[str]) -> tuple[Column, Stored]:
    found = sorted(set(cells), key=_in_order)
    if len(found) > MOST_CLASSES:
        raise DataError(f"data.target={name}: {len(found):,} classes; at most {MOST_CLASSES:,}")
    return Classes(tuple(found)), _numbered(cells, found)


def _numbered(cells: Sequence[str], names: Sequence[str]) -> Stored:
    numbers = {text: number for number, text in enumerate(names)}
    return np.array([numbers[cell] for cell in cells], dtype=np.int64)


def _in_order(cell: str) -> tuple[float, str]:
    """Numbers by their size, then words by their letters."""
    try:
        return number_of(cell), cell
    except (ValueError, OverflowError):
        return np.inf, cell


def _values(
    name: str, cells: Sequence[str], where: Callable[[str], str], reading: Reading
) -> Stored:
    how = number_form(name, Counter(cells), where, reading)
    if not how:
        bad = printable(cells[0])[:30]
        raise DataError(f"data.target={name}: a value is a number, and this holds {bad!r}")
    values, _ = read_cells(cells, how, ())
    return values[:, 0]


def _yes_or_no(name: str, cells: Sequence[str]) -> tuple[str, ...]:
    """The two words of a target, that for no first."""
    found = sorted(set(cells), key=_in_order)
    if len(found) != 2:
        raise DataError(
            f"data.target: {printable(name)} has {len(found)} classes\n"
            "  of several targets each is yes or no; name one alone for more classes"
        )
    return tuple(found)


def _as_learned(
    column: Column,
    cells: Mapping[str, list[str]],
    where: Where,
    names: Sequence[str],
    reading: Reading,
) -> Stored:
    """The rows of a target that a run has learned. Raises DataError for a class that is new."""
    if isinstance(column, Values):
        columns = [_values(name, cells[name], where[name], reading) for name in names]
        stored = np.stack(columns, axis=1).astype(np.float32)
        return stored if column.names else stored[:, 0]
    if isinstance(column, Labels):
        words = column.words or [_yes_or_no(name, cells[name]) for name in names]
        bits = [_known(n, cells[n], w, where[n]) for n, w in zip(names, words, strict=True)]
        return np.stack(bits, axis=1).astype(np.uint8)
    assert isinstance(column, Classes)
    (name,) = names
    return _known(name, cells[name], column.names, where[name])


def _known(
    name: str, cells: Sequence[str], words: Sequence[str], where: Callable[[str], str]
) -> Stored:
    """The number of each cell among the words that a run has learned. Raises DataError."""
    new = next((cell for cell in cells if cell not in words), None)
    if new is not None:
        raise DataError(
            f"data.target={name}: {printable(new)[:30]!r} in {where(new)} is a class that "
            f"this run has not learned{nearest(new, words)}\n"
            f"  it knows {printable(', '.join(words[:12]))}"
        )
    return _numbered(cells, words)
