"""The rows of a table and what their columns are for; read anew for each look, or kept if few."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainwright.command_line import command, listing
from trainwright.data.tables.cells import is_missing
from trainwright.data.tables.reader import Chunk, Table
from trainwright.data.tables.splitting import share_of
from trainwright.errors import DataError
from trainwright.wording import nearest, printable

SMALL = 2**24  # bytes of a file of which all rows are kept in memory

Cells = dict[str, list[str]]  # of columns by name


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are for, by their names."""

    targets: tuple[str, ...]
    columns: tuple[str, ...] = ()  # the inputs; empty: all others
    ignore: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class Look:
    """What the first look at a table finds of the rows that have their targets."""

    rows: NDArray[np.int64]  # their places among all rows
    total: int  # of all rows
    cells: Cells  # of targets, group and time
    shares: NDArray[np.float64] | None  # 0..1 by what stands in each row, where that is asked for


class Rows:
    """One table. Raises DataError for a column that it lacks, BadTableError for what is none."""

    def __init__(self, table: Table, roles: Roles, null: Sequence[str]) -> None:
        self.table, self.roles, self.null = table, roles, null
        self.name = table.path.name
        self.names = table.header()
        for key, named in vars(roles).items():
            for name in [named] if isinstance(named, str) else named or ():
                self.require(key.removesuffix("s") if key == "targets" else key, name)
        self._places = {name: place for place, name in enumerate(self.names)}
        is_small = table.path.stat().st_size < SMALL
        self._kept = list(table.chunks()) if is_small else None

    def require(self, key: str, name: str) -> None:
        """Raise DataError for a column that there is not; `key` names it."""
        if name not in self.names:
            some = ", ".join(map(printable, self.names[:12]))
            more = ", ..." if len(self.names) > 12 else ""
            several = ""
            if "," in name and key not in ("group", "time"):
                several = f"\n  of several write {command(listing(f'data.{key}', name.split(',')))}"
            raise DataError(
                f"data.{key}: {self.name} has no column {printable(name)}"
                f"{nearest(name, self.names[:1000])}\n  it has {some}{more}{several}"
            )

    @property
    def inputs(self) -> list[str]:
        """The columns that a network may be given."""
        out = {*self.roles.targets, *self.roles.ignore, self.roles.group}
        return [name for name in self.roles.columns or self.names if name not in out]

    def chunks(self) -> Iterable[Chunk]:
        """The rows, a few thousand at a time."""
        return self.table.chunks() if self._kept is None else self._kept

    def columns(self, chunk: Chunk, names: Iterable[str]) -> Mapping[str, Sequence[str]]:
        """The cells of a few rows."""
        names = tuple(dict.fromkeys(names))
        found = chunk.columns([self._places[name] for name in names])
        return dict(zip(names, found, strict=True))

    def where(self, cells: Sequence[str], rows: NDArray[np.int64]) -> Callable[[str], str]:
        """What says where a cell of a column stands first; `rows`: the number of each one's row."""
        return lambda cell: f"line {self.table.line(int(rows[cells.index(cell)]))}"

    def look(self, *, hash_seed: int | None) -> Look:
        """Read what decides where a row goes. Raises DataError where no row has its targets."""
        roles = self.roles
        names = [*roles.targets, *filter(None, (roles.group, roles.time))]
        cells: Cells = {name: [] for name in names}
        kept, shares, total = [], [], 0
        for chunk in self.chunks():
            found = self.columns(chunk, names)
            is_kept = np.ones(len(chunk), dtype=bool)
            for name in roles.targets:
                missing = [is_missing(cell, self.null) for cell in found[name]]
                is_kept &= ~np.array(missing, dtype=bool)
            places = np.flatnonzero(is_kept)
            for name, column in found.items():
                cells[name] += column if is_kept.all() else [column[i] for i in places.tolist()]
            if hash_seed is not None:
                texts = map("\x1f".join, chunk.taken(places).rows)
                shares.append(np.array([share_of(text, hash_seed) for text in texts]))
            kept.append(places + total)
            total += len(chunk)
        rows = np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)
        if not len(rows):
            told = "has no row with a target" if total else "has no rows"
            raise DataError(f"{self.name} {told}")
        return Look(rows, total, cells, np.concatenate(shares) if shares else None)

    def cells(self, chosen: NDArray[np.int64], num_rows: int) -> Cells:
        """The cells of the inputs in those rows."""
        is_chosen = np.zeros(num_rows, dtype=bool)
        is_chosen[chosen] = True
        cells: Cells = {name: [] for name in self.inputs}
        start = 0
        for chunk in self.chunks():
            part = chunk.taken(np.flatnonzero(is_chosen[start : start + len(chunk)]))
            for name, column in self.columns(part, cells).items():
                cells[name] += column
            start += len(chunk)
        return cells
