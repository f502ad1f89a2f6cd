"""Rows of a table, by the names of their columns: what a trained network is asked about."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from trainwright.data.tables.cells import MISSING
from trainwright.data.tables.reader import BadTableError, Record, Table, is_number
from trainwright.wording import nearest, printable

MOST_COMPARED = 1000  # columns, for one that may have been meant

__all__ = ["BadTableError", "Row", "read_rows"]


class Row(NamedTuple):
    """The cells of one row that are wanted, or what is wrong with it; `line` counts from 1."""

    line: int
    cells: Sequence[str] = ()
    problem: str = ""


def read_rows(
    path: Path,
    wanted: Sequence[str],
    *,
    is_named: bool,
    separator: str | None = None,
    encoding: str = "utf-8",
) -> Iterator[Row]:
    """The rows of a table, one at a time.

    With a first line of names the columns are found by those, in any order and among others.
    Without, or where what was learned had no names (`is_named`), they are taken in their order.
    Raises BadTableError for a file that is no such table, OSError where it cannot be read.
    """
    records = Table(path, separator, encoding).records()
    line, cells = next(records, Record(1, ()))
    head = [cell.strip() for cell in cells]
    if not head:
        raise BadTableError("empty")
    if _is_header(head, wanted, is_named):
        places = _by_name(head, wanted) if is_named else _in_order(head, wanted)
    else:
        places = _in_order(head, wanted)
        yield _row(line, head, places, wanted)
    for line, cells in records:
        if any(cell.strip() for cell in cells[len(head) :]):
            # A decimal comma, perhaps: what stands where is anyone's guess.
            yield Row(line, problem=f"{len(cells)} cells, and the first line has {len(head)}")
        else:
            yield _row(line, cells, places, wanted)


def _is_header(head: Sequence[str], wanted: Sequence[str], is_named: bool) -> bool:
    """Whether the first line holds names: those that are wanted, or at least no numbers."""
    if is_named and set(wanted) <= set(head):
        return True
    is_name = [not is_number(cell) and cell.lower() not in MISSING for cell in head]
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
