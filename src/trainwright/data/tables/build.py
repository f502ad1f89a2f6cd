"""A table's rows become stored columns: looked at, split, understood, then read row by row.

The file is read three times, a few thousand rows in memory at once: for targets and groups, for the
training rows by which its columns are understood, and for all cells.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from trainwright.data.columns import Classes, Column, Values
from trainwright.data.dataset import TARGETS, DataInfo
from trainwright.data.splits import Size
from trainwright.data.tables.cells import is_missing
from trainwright.data.tables.kinds import Reading, date_form, mixed, number_form, understand
from trainwright.data.tables.learn import (
    TargetScale,
    columns_of,
    read_cells,
    stored_as,
    values_of,
)
from trainwright.data.tables.notes import SPLITS, about_columns, about_copies, about_targets
from trainwright.data.tables.rows import Look, Rows
from trainwright.data.tables.splitting import Parts, share_of, split_rows
from trainwright.data.tables.target import TargetKind, target_of
from trainwright.data.tables.texts import Texts
from trainwright.errors import DataError
from trainwright.wording import printable

PLACES = "places"  # the number of each row in the file, from 0
SAMPLE = 20_000  # training rows by which columns are understood

Store = Callable[[str, tuple[int, ...], Any], NDArray[Any]]  # an array to be filled, by its name


@dataclass(frozen=True)
class Wanted:
    """What to learn from a table, and how to split it."""

    target_kind: TargetKind | None
    target_scale: TargetScale
    split: Literal["random", "hash"]
    validation: int | float
    test: Size
    split_seed: int
    limit: int | None
    texts: Texts | None = None  # for a network that reads tokens


@dataclass(frozen=True)
class Built:
    """The facts, the number of rows of each split, and what a person is told."""

    info: DataInfo
    counts: Mapping[str, int]
    notes: list[str]


def build(
    rows: Rows,
    reading: Reading,
    wanted: Wanted,
    store: Store,
    *,
    learned: DataInfo | None,
    whole: bool,
) -> Built:
    """Fill the arrays that `store` gives with the rows split by split, training first.

    `learned`: the facts of a run; then nothing is learned. `whole`: all rows are the test. Raises
    DataError.
    """
    look = rows.look(hash_seed=wanted.split_seed if wanted.split == "hash" else None)
    names = rows.roles.targets
    where = {name: rows.where(cells, look.rows) for name, cells in look.cells.items()}
    column, stored = target_of(look.cells, where, names, reading, wanted.target_kind, learned)
    if whole:
        none = torch.zeros(0, dtype=torch.long)
        parts = none, none, torch.arange(len(look.rows))
    else:
        classes = torch.from_numpy(stored) if isinstance(column, Classes) else None
        parts = _split(rows, look, reading, wanted, classes)
    train, order = parts[0].numpy(), torch.cat(parts).numpy()
    notes = _about_rows(rows, look)
    if learned is None:
        if isinstance(column, Values):
            column = values_of(stored[train], column.names, wanted.target_scale)
        chosen = np.arange(min(SAMPLE, len(train))) * len(train) // min(SAMPLE, len(train))
        chosen = look.rows[train[chosen]]
        cells = rows.cells(chosen, look.total)
        found = [
            understand(name, column_cells, rows.where(column_cells, chosen), reading)
            for name, column_cells in cells.items()
        ]
        if len(train) > SAMPLE:
            notes.append(f"  found from {SAMPLE:,} of the {len(train):,} training rows")
        inputs: Mapping[str, Column]
        if wanted.texts is None:
            inputs = columns_of(found, cells, tuple(reading.null))
        else:
            inputs, found = wanted.texts.column(found, cells)
        notes += about_columns(found)
        if not inputs:
            raise DataError(
                f"{rows.name}: no column is left to learn from\n" + "\n".join(notes[1:4])
            )
    else:
        inputs = {name: learned.columns[name] for name in learned.inputs}
        _check_names(rows, inputs)
    notes += about_targets(names, column, stored)
    arrays = _fill(rows, store, inputs, look.rows[order], look.total)
    targets = store(TARGETS, (len(order), *stored.shape[1:]), stored.dtype)
    targets[:] = stored[order]
    store(PLACES, order.shape, np.int64)[:] = look.rows[order]
    counts = {name: len(part) for name, part in zip(SPLITS, parts, strict=True)}
    if learned is None:
        notes += about_copies([*arrays, targets], counts)
    info = DataInfo(rows.name, {**inputs, TARGETS: column}, tuple(inputs), (TARGETS,))
    return Built(info, counts, notes)


def _split(
    rows: Rows, look: Look, reading: Reading, wanted: Wanted, classes: torch.Tensor | None
) -> Parts:
    group, shares = rows.roles.group, look.shares
    groups = None if group is None else look.cells[group]
    if shares is not None and groups is not None:
        share = {text: share_of(text, wanted.split_seed) for text in set(groups)}
        shares = np.array([share[text] for text in groups])
    return split_rows(
        len(look.rows),
        validation=wanted.validation,
        test=wanted.test,
        seed=wanted.split_seed,
        limit=wanted.limit,
        classes=classes,
        groups=groups,
        times=None if rows.roles.time is None else _times(rows.roles.time, rows, look, reading),
        hashes=shares,
    )


def _times(name: str, rows: Rows, look: Look, reading: Reading) -> NDArray[np.float64]:
    """The moment of each row as a number. Raises DataError for cells that are none."""
    cells = look.cells[name]
    where = rows.where(cells, look.rows)
    empty = next((cell for cell in cells if is_missing(cell, reading.null)), None)
    if empty is not None:
        raise DataError(f"data.time={name}: no moment stands in {where(empty)}")
    counts = Counter(cells)
    how = number_form(name, counts, where, reading)
    if not how:
        how = f"date {date_form(name, counts, where)[0]}".strip()
    if how == "date":
        raise DataError(f"data.time={name}: {printable(cells[0])[:30]!r} is no number and no date")
    values, bad = read_cells(cells, how, reading.null)
    if bad:
        raise DataError(mixed(name, "moments", "none", bad, where))
    return values[:, 0]


def _check_names(rows: Rows, inputs: Mapping[str, Column]) -> None:
    for name, column in inputs.items():
        for cell in column.cell_names(name):
            rows.require("columns", cell)


def _fill(
    rows: Rows,
    store: Store,
    inputs: Mapping[str, Column],
    order: NDArray[np.int64],
    num_rows: int,
) -> list[NDArray[Any]]:
    """Read all cells into the arrays of the inputs."""
    at = np.full(num_rows, -1)
    at[order] = np.arange(len(order))
    names = [cell for name, column in inputs.items() for cell in column.cell_names(name)]
    arrays = []
    for name, column in inputs.items():
        kind = {"categories": np.int64, "tokens": np.int32}.get(column.kind, np.float32)
        arrays.append(store(name, (len(order), *column.stored_shape), kind))
    start = 0
    for chunk in rows.chunks():
        target = at[start : start + len(chunk)]
        chosen = np.flatnonzero(target >= 0)
        cells = rows.columns(chunk.taken(chosen), names)
        for array, column in zip(arrays, inputs.values(), strict=True):
            array[target[chosen]], bad = stored_as(column, cells)
            for name, how, cell in bad[:1]:
                where = rows.where(cells[name], start + chosen)
                what = "dates" if how.startswith("date") else "numbers"
                raise DataError(mixed(name, what, "none", [cell], where))
        start += len(chunk)
    if start != num_rows:
        raise DataError(f"{rows.name} changed while it was read: run again")
    return arrays


def _about_rows(rows: Rows, look: Look) -> list[str]:
    divided = f", divided at {at!r}" if (at := rows.table.divided_at) else ""
    total = look.total
    notes = [f"{rows.name}: {total:,} rows of {len(rows.names):,} columns{divided}"]
    if lost := total - len(look.rows):
        notes.append(f"  {lost:,} rows without a target are left out")
    return notes
