"""metrics.jsonl: a row of numbers for each step that was logged. All who read it read it here.

A row that is torn, or not what a run writes, is left out: the file may come from anyone.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainwright.errors import DiskError
from trainwright.files import write_text
from trainwright.runs.stored import UnreadableError, read_objects

NAME = "metrics.jsonl"
MAX_BYTES = 512 * 2**20  # that are read; of a larger file only its end
END_BYTES = 2**18  # in which the last row is
MOST_COLUMNS, LONGEST_NAME = 10_000, 200
LARGEST_STEP, LARGEST_NUMBER = 2**53, 1e300

Row = dict[str, Any]


def read_rows(folder: Path, *, most: int | None = None) -> list[Row]:
    """The rows of the run in a folder, in order; none where there is no file that can be read.

    `most`: how many are wanted, spread evenly, beside those with an evaluation, which all come.
    """
    stride = 1 if most is None else max(1, sum(1 for _ in _rows(folder)) // most)
    rows = [
        row
        for number, row in enumerate(_rows(folder))
        if number % stride == 0 or any(name.startswith("validation/") for name in row)
    ]
    last = last_row(folder)
    return rows if not last or rows[-1] == last else [*rows, last]


def last_row(folder: Path) -> Row:
    """The last whole row of the run in a folder, read from its end; empty where there is none."""
    last = list(_rows(folder, END_BYTES))[-1:]
    return last[0] if last else {}


def rewind(folder: Path, step: int) -> int:
    """Drop rows after `step`, and torn ones, so that a resumed run goes on without a repeat.

    Returns how many lines were damaged and are lost, but for the last, which a kill may have torn.
    Raises DiskError.
    """
    path = folder / NAME
    try:
        found = list(read_objects(path))
    except FileNotFoundError:
        found = []
    except UnreadableError as error:
        raise DiskError(f"{path} {error}\n  the log of the run would be lost") from error
    kept = [row for row in found if _is_row(row) and row["step"] <= step]
    write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
    return sum(not _is_row(row) for row in found[:-1])


def _rows(folder: Path, last: int = MAX_BYTES) -> Iterator[Row]:
    try:
        yield from filter(_is_row, read_objects(folder / NAME, last=last))
    except (FileNotFoundError, UnreadableError):
        return


def _is_row(row: Row) -> bool:
    """Whether it is a row as a run writes it: a step, numbers or null by name, and the health."""
    step = row.get("step")
    if type(step) is not int or not 0 <= step < LARGEST_STEP or len(row) > MOST_COLUMNS:
        return False
    return all(
        len(name) <= LONGEST_NAME
        and name.isprintable()
        and (isinstance(value, str) if name == "health" else _is_number_or_null(value))
        for name, value in row.items()
    )


def _is_number_or_null(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) < LARGEST_NUMBER)
