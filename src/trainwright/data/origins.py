"""Where the examples of a dataset come from: image files by name, or the rows of a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from trainwright.data.tables.reader import BadTableError, Table
from trainwright.errors import DataError
from trainwright.wording import nearest, printable


@dataclass(frozen=True)
class TableRows:
    """Rows of a table, of each split by their numbers from 0, (N,)."""

    table: Table
    places: Mapping[str, Tensor]

    def column(self, split: str, name: str) -> list[str]:
        """The cells of a column, whether or not it is learned from. Raises DataError."""
        cells = cells_of(self.table, name)
        return [cells[place] for place in self.places[split].tolist()]


@dataclass(frozen=True)
class ImageFiles:
    """Files of a folder, of each split by their names from there, with forward slashes."""

    names: Mapping[str, Sequence[str]]


Origins = TableRows | ImageFiles


def cells_of(table: Table, name: str) -> list[str]:
    """A column of a table. Raises DataError where it has none of that name, or is no table."""
    try:
        names = table.header()
        if name not in names:
            raise DataError(
                f"{printable(table.path.name)} has no column {printable(name)}"
                f"{nearest(name, names)}\n  it has {printable(', '.join(names[:12]))}"
            )
        place = names.index(name)
        return [cell for chunk in table.chunks() for cell in chunk.columns([place])[0]]
    except BadTableError as error:
        raise DataError(f"{printable(str(table.path))}: {error}") from error
    except OSError as error:
        raise DataError(f"{table.path} cannot be read: {error.strerror or error}") from error
