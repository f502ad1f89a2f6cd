"""Rows of a CSV file, by the names of their columns."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from trainwright.wording import nearest, printable

DELIMITERS = ",;\t"
LONGEST_LINE = 2**20  # letters
MISSING = {"", "-", "?", "na", "n/a", "nan", "nil", "none", "null"}  # where a number should be
MOST_COMPARED = 1000  # columns, for one that may have been meant


class BadTableError(Exception):
    """Why none of a file's rows can be used; the message is half a line."""


class Row(NamedTuple):
    """The cells of one row that are wanted, or what is wrong with it; `line` counts from 1."""

    line: int
    cells: Sequence[str] = ()
    problem: str = ""


def read_rows(path: Path, wanted: Sequence[str], *, is_named: bool) -> Iterator[Row]:
    """The rows of a CSV file, one at a time; commas, semicolons or tabs divide.

    With a first line of names the columns are found by those, in any order and among others.
    Without, or where what was learned had no names (`is_named`), they are taken in their order.
    Raises BadTableError for a file that is no such table, OSError where it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from _rows(file, wanted, is_named)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadTableError("no CSV file of UTF-8 text") from error


def _rows(file: TextIO, wanted: Sequence[str], is_named: bool) -> Iterator[Row]:
    first = next((line for line in _lines(file) if line.strip()), "")
    file.seek(0)
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(_lines(file), delimiter=delimiter, strict=True)
    filled = (cells for cells in reader if any(cell.strip() for cell in cells))
    head = [cell.strip() for cell in next(filled, [])]
    if not head:
        raise BadTableError("empty")
    if _is_header(head, wanted, is_named):
        places = _by_name(head, wanted) if is_named else _in_order(head, wanted)
    else:
        places = _in_order(head, wanted)
        yield _row(reader.line_num, head, places, wanted)
    for cells in filled:
        if any(cell.strip() for cell in cells[len(head) :]):
            # A decimal comma, perhaps: what stands where is anyone's guess.
            problem = f"{len(cells)} cells, and the first line has {len(head)}"
            yield Row(reader.line_num, problem=problem)
        else:
            yield _row(reader.line_num, cells, places, wanted)


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise BadTableError(f"a line has more than {LONGEST_LINE:,} letters")
        yield line


def _is_header(head: Sequence[str], wanted: Sequence[str], is_named: bool) -> bool:
    """Whether the first line holds names: those that are wanted, or at least no numbers."""
    if is_named and set(wanted) <= set(head):
        return True
    is_name = [not _is_number(cell) and cell.lower() not in MISSING for cell in head]
    return any(is_name) if is_named else all(is_name)


def _in_order(head: Sequence[str], wanted: Sequence[str]) -> list[int]:
    if len(head) != len(wanted):
        raise BadTableError(
            f"{len(head)} columns, and the run has learned from {len(wanted)}"
            + (" (name them in a first line)" if len(head) > len(wanted) else "")
        )
    return list(range(len(wanted)))


def _by_name(head: Sequence[str], wanted: Sequence[str]) -> list[int]:
    number = Counter(head)
    for name in wanted:
        if number[name] > 1:
            raise BadTableError(f"two columns are called {printable(name)}")
        if name not in number:
            near = nearest(name, head[:MOST_COMPARED])
            raise BadTableError(f"no column {printable(name)}{near}")
    places = {name: place for place, name in enumerate(head)}
    return [places[name] for name in wanted]


def _row(line: int, cells: Sequence[str], places: Sequence[int], wanted: Sequence[str]) -> Row:
    for place, name in zip(places, wanted, strict=True):
        if place >= len(cells):
            return Row(line, problem=f"{printable(name)} is missing")
    return Row(line, [cells[place].strip() for place in places])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
        return True
    except ValueError:
        return False
