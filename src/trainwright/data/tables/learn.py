"""What is learned of a table's columns from its training rows, and their cells as numbers."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainwright.data.columns import Categories, Column, Numbers, Tokens, Values
from trainwright.data.tables.cells import MOST_FLOAT, parts, read_cell
from trainwright.data.tables.kinds import Found

LIMIT = 3.0  # deviations, which no number passes
IQR = 1.3489795  # of a normal distribution, in deviations
SKEWED = 2.0  # from which skewness on another scale is tried
NAMES = ("(unseen)", "(missing)")

TargetScale = Literal["auto", "linear", "log"]
Floats = NDArray[np.float64]


def columns_of(
    found: Sequence[Found], cells: Mapping[str, Sequence[str]], null: tuple[str, ...]
) -> dict[str, Column]:
    """`numbers` and `categories` of what was found; `cells` are those of the training rows."""
    columns: dict[str, Column] = {}
    read = [column for column in found if column.how]
    if read:
        columns["numbers"] = _numbers(read, cells, null)
    coded = [column for column in found if column.kind in ("boolean", "category")]
    if coded:
        options = tuple((*NAMES, *column.options) for column in coded)
        names = tuple(column.name for column in coded)
        columns["categories"] = Categories(names, options, is_open=True, null=null)
    return columns


def _numbers(
    found: Sequence[Found], cells: Mapping[str, Sequence[str]], null: tuple[str, ...]
) -> Numbers:
    """Centre and spread by median and quartiles, which a few wild numbers do not move."""
    names: list[str] = []
    centres: list[float] = []
    spreads: list[float] = []
    flagged: list[int] = []
    for column in found:
        values, _ = read_cells(cells[column.name], column.how, null)
        if column.has_missing:
            flagged.append(len(names))
        names += [f"{column.name} {part}".strip() for part in parts(column.how)]
        values = values[~np.isnan(values[:, 0])]
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
        spread = (high - low) / IQR
        deviation = values.std(axis=0)
        spread = np.where(spread > 1e-6 * np.abs(middle), spread, deviation)
        spread = np.where(spread > 1e-6 * np.abs(middle) + 1e-30, spread, 1.0)
        centres += middle.tolist()
        spreads += spread.tolist()
    return Numbers(
        mean=tuple(centres),
        std=tuple(spreads),
        names=tuple(names),
        fill=tuple(centres),
        flagged=tuple(flagged),
        limit=LIMIT,
        cells=tuple((column.name, column.how) for column in found),
        null=null,
    )


def read_cells(cells: Sequence[str], how: str, null: Collection[str]) -> tuple[Floats, list[str]]:
    """(N, numbers a cell) as `read_cell` has them, and the cells that are none, each once."""
    if how == "number":
        plain = _plain(cells, frozenset(null))
        if plain is not None:  # else they are looked at one by one
            return plain[:, None], []
    known: dict[str, tuple[float, ...]] = {}
    bad = []
    for cell in dict.fromkeys(cells):
        try:
            known[cell] = read_cell(cell, how, null)
        except (ValueError, OverflowError):
            known[cell] = (np.nan,) * len(parts(how))
            bad.append(cell)
    return np.array([known[cell] for cell in cells]).reshape(len(cells), len(parts(how))), bad


def _plain(cells: Sequence[str], null: frozenset[str]) -> Floats | None:
    """Numbers and nothing else than what is missing, ten times as fast as cell by cell."""
    words = _spelled(null)
    try:
        values = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        try:
            values = np.array([np.nan if cell in words else float(cell) for cell in cells])
        except ValueError:
            return None
    missing = np.isnan(values)
    is_right = (missing | (np.abs(values) < MOST_FLOAT)).all() and "_" not in "".join(cells)
    if not is_right or any(cells[i] not in words for i in np.flatnonzero(missing).tolist()):
        return None
    return values


@cache
def _spelled(null: frozenset[str]) -> frozenset[str]:
    """The words in small letters and others."""
    return frozenset(form(word) for word in null for form in (str.lower, str.upper, str.title))


def stored_as(
    column: Column, cells: Mapping[str, Sequence[str]]
) -> tuple[NDArray[np.float32] | NDArray[np.int64], list[tuple[str, str, str]]]:
    """Rows (N, F) as a column stores them, and the cells that it has no number for.

    Of these: of which column, how they were to be read, and what stands there.
    """
    if isinstance(column, Numbers):
        found, bad = [], []
        for name, how in column.cells:
            values, none = read_cells(cells[name], how, column.null)
            bad += [(name, how, cell) for cell in none]
            found.append(values.astype(np.float32))
        return np.concatenate(found, axis=1), bad
    if isinstance(column, Tokens):
        (texts,) = cells.values()
        return np.stack([column.read([text], Path()) for text in texts]), []
    assert isinstance(column, Categories)
    places = []
    for feature, name in enumerate(column.names):
        known = {cell: column.place(cell, feature) for cell in dict.fromkeys(cells[name])}
        places.append([known[cell] for cell in cells[name]])
    return np.array(places, dtype=np.int64).T, []


def values_of(stored: NDArray[np.float32], names: tuple[str, ...], scale: TargetScale) -> Values:
    """The spec of values (N,) or (N, K) to be predicted, on the scale that suits.

    One long tail, as prices and counts have it, makes nearly all of a squared error: then the
    logarithm is learned, or rather asinh, which zero and negative numbers have, too.
    """
    values = stored.astype(np.float64).reshape(len(stored), -1)
    units = np.array([_unit(column) for column in values.T])
    scaled = np.arcsinh(values / units)
    is_log = scale == "log" or (
        scale == "auto"
        and bool((np.abs(_skewness(values)) > SKEWED).any())
        and bool((np.abs(_skewness(scaled)) < 0.5 * np.abs(_skewness(values))).all())
    )
    seen = scaled if is_log else values
    mean, std = seen.mean(axis=0), seen.std(axis=0)
    std = np.where(std > 1e-6 * np.abs(mean), std, 1.0)
    unit = tuple(units.tolist()) if is_log else ()
    return Values(tuple(mean.tolist()), tuple(std.tolist()), names, unit)


def _unit(values: Floats) -> float:
    """A small one of them: what is larger is on a logarithm's scale."""
    sizes = np.abs(values[values != 0])
    return float(np.quantile(sizes, 0.05)) if len(sizes) else 1.0


def _skewness(values: Floats) -> Floats:
    """Of each column (N, K): (K,)."""
    apart = values - values.mean(axis=0)
    deviation = np.sqrt((apart**2).mean(axis=0))
    return np.asarray((apart**3).mean(axis=0) / np.maximum(deviation, 1e-30) ** 3)
