"""Rows of a CSV file, as the features that a network was trained on."""

import csv
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from trainwright.wording import nearest, printable

DELIMITERS = ",;\t"
LONGEST_LINE = 2**20  # letters
MOST_COMPARED = 1000  # columns, for one that may have been meant


class BadTableError(Exception):
    """Why none of a file's rows can be used; the message is half a line."""


class Row(NamedTuple):
    """The features of one row (F,), or what is wrong with it; `line` counts from 1."""

    line: int
    features: list[float] | None = None
    problem: str = ""


def read_rows(path: Path, *, num_features: int, names: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of a CSV file, one at a time; commas, semicolons or tabs divide.

    With a first line of names the columns are found by those, in any order and among others.
    Without, or where the training data had no `names`, they are taken in their order. Raises
    BadTableError for a file that is no such table, OSError where it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from _rows(file, num_features, names)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadTableError("no CSV file of UTF-8 text") from error


def _rows(file: TextIO, num_features: int, names: Sequence[str]) -> Iterator[Row]:
    first = next(_lines(file), "")
    file.seek(0)
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(_lines(file), delimiter=delimiter, strict=True)
    head = [cell.strip() for cell in next(reader, [])]
    if not head:
        raise BadTableError("empty")
    if all(_number(cell) is not None for cell in head):
        places = _in_order(head, num_features)
        yield _row(1, head, places, names)
    else:
        places = _by_name(head, names) if names else _in_order(head, num_features)
    for cells in reader:
        if any(cell.strip() for cell in cells[len(head) :]):
            # A decimal comma, perhaps: what stands where is anyone's guess.
            problem = f"{len(cells)} cells, and the first line has {len(head)}"
            yield Row(reader.line_num, problem=problem)
        elif cells:
            yield _row(reader.line_num, cells, places, names)


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise BadTableError(f"a line has more than {LONGEST_LINE:,} letters")
        yield line


def _in_order(head: Sequence[str], num_features: int) -> list[int]:
    if len(head) != num_features:
        raise BadTableError(
            f"{len(head)} columns, and the run has learned from {num_features}"
            + (" (name them in a first line)" if len(head) > num_features else "")
        )
    return list(range(num_features))


def _by_name(head: Sequence[str], names: Sequence[str]) -> list[int]:
    number = Counter(head)
    for name in names:
        if number[name] > 1:
            raise BadTableError(f"two columns are called {printable(name)}")
        if name not in number:
            near = nearest(name, head[:MOST_COMPARED])
            raise BadTableError(f"no column {printable(name)}{near}")
    places = {name: place for place, name in enumerate(head)}
    return [places[name] for name in names]


def _row(line: int, cells: Sequence[str], places: Sequence[int], names: Sequence[str]) -> Row:
    features = []
    for number, place in enumerate(places):
        name = names[number] if names else f"column {place + 1}"
        if place >= len(cells):
            return Row(line, problem=f"{printable(name)} is missing")
        value = _number(cells[place])
        if value is None:
            return Row(line, problem=f"{printable(name)} is {printable(cells[place])[:40]!r}")
        features.append(value)
    return Row(line, features)


def _number(cell: str) -> float | None:
    """The number in a cell; None where there is none, or one that float32 does not have."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 3e38 else None
