"""To which group each example of a split belongs: by a column, a second table, or folders."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns import Categories, Numbers
from trainwright.data.dataset import Dataset
from trainwright.data.examples import all_of
from trainwright.data.origins import ImageFiles, TableRows, cells_of
from trainwright.data.tables.cells import MISSING, is_missing, number_of
from trainwright.data.tables.reader import SUFFIXES, BadTableError, Table
from trainwright.errors import DataError
from trainwright.files import typed_path
from trainwright.wording import nearest, printable

MOST = 50  # groups
MOST_NUMBERS = 10  # different numbers that are groups by themselves; of more quarters are made
NOTHING = "(missing)"

Groups = dict[str, Tensor]  # the places (n,) int64 of the examples of each, by its name


def groups_of(dataset: Dataset, split: str, wanted: str) -> Groups:
    """The groups of a split's examples, in the order of their names or numbers.

    `wanted`: a column of the table; or a table of image files, `sites.csv` or `sites.csv:site`,
    the first column of which has their names; or a folder whose folders hold files of those names.
    Examples that these do not name are in none. Raises DataError.
    """
    name, _, column = wanted.rpartition(":")
    file = wanted if wanted.lower().endswith(SUFFIXES) else name
    is_table = file.lower().endswith(SUFFIXES)
    origins = dataset.origins
    if isinstance(origins, ImageFiles) and (is_table or typed_path(wanted).is_dir()):
        path = typed_path(file if is_table else wanted)
        known = _of_table(path, column if file == name else "") if is_table else _of_folder(path)
        return _grouped(_looked_up(origins.names[split], known, wanted), wanted)
    if is_table:
        raise DataError(
            f"group={printable(wanted)}: examples of {dataset.info.name} have no file names\n"
            "  a table by file name is for data=folder; name a column instead"
        )
    if isinstance(origins, TableRows):
        return _grouped(origins.column(split, wanted), wanted)
    return _grouped(_of_feature(dataset, split, wanted), wanted)


def _of_folder(folder: Path) -> dict[str, str]:
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {"/".join(name.parts[1:]): name.parts[0] for name in names if len(name.parts) > 1}


def _of_table(path: Path, column: str) -> dict[str, str]:
    if not path.is_file():
        raise DataError(f"group={path}: there is no such file")
    table = Table(path)
    try:
        names = table.header()
    except BadTableError as error:
        raise DataError(f"group={path}: {error}") from error
    if not column and len(names) != 2:
        raise DataError(
            f"group={path}: it has {len(names)} columns; say which one\n"
            f"  group={path}:COLUMN, of {printable(', '.join(names[1:12]))}"
        )
    return dict(zip(cells_of(table, names[0]), cells_of(table, column or names[1]), strict=True))


def _looked_up(files: Sequence[str], known: Mapping[str, str], wanted: str) -> list[str | None]:
    """What is known of each file, by its name from the data's folder, else by its last part."""
    found = [known.get(file) for file in files]
    last = [PurePosixPath(file).name for file in files]
    if not any(cell is not None for cell in found) and len(set(last)) == len(last):
        found = [known.get(name) for name in last]
    if all(cell is None for cell in found):
        raise DataError(
            f"group={printable(wanted)} names none of the {len(files):,} image files\n"
            f"  they are called like {printable(files[0])}, from the data's folder on"
        )
    return found


def _of_feature(dataset: Dataset, split: str, wanted: str) -> list[str]:
    """What an input says of each example, by the name of a feature."""
    names: list[str] = []
    for name in dataset.info.inputs:
        column = dataset.info.columns[name]
        if isinstance(column, Numbers | Categories) and wanted in column.names:
            place = column.names.index(wanted)
            stored = all_of(dataset.splits[split], name)[:, place].tolist()
            if isinstance(column, Categories):
                return [column.options[place][value] for value in stored]
            return [repr(value) for value in stored]
        names += column.names if isinstance(column, Numbers | Categories) else ()
    has = f"it has {printable(', '.join(names[:12]))}" if names else "it has none"
    raise DataError(
        f"group={printable(wanted)}: {dataset.info.name} has no column of that name"
        f"{nearest(wanted, names)}\n  {has}; group=FILE.csv is a table of image files"
    )


def _grouped(cells: Sequence[str | None], wanted: str) -> Groups:
    """The places of equal cells; many different numbers are cut into quarters."""
    places: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if cell is not None:
            places.setdefault(NOTHING if is_missing(cell, MISSING) else cell, []).append(place)
    nothing = places.pop(NOTHING, [])
    numbers = _numbers(places)
    if len(numbers) > MOST_NUMBERS:
        ordered = _quarters(places, numbers)
    else:
        ordered = {
            name: places[name] for name in sorted(places, key=lambda n: (numbers.get(n, 0), n))
        }
    if len(ordered) > MOST:
        raise DataError(
            f"group={printable(wanted)} has {len(ordered):,} different values; at most {MOST} "
            "are compared\n  name a column of few kinds, or of numbers, which are cut into quarters"
        )
    if nothing:
        ordered[NOTHING] = nothing
    if len(ordered) < 2:
        raise DataError(
            f"group={printable(wanted)}: there is only one group, {printable(*ordered)}"
        )
    return {name: torch.tensor(found) for name, found in ordered.items()}


def _numbers(texts: Iterable[str]) -> dict[str, float]:
    """What the texts are as numbers; nothing where one of them is none."""
    try:
        return {text: number_of(text) for text in texts}
    except (ValueError, OverflowError):
        return {}


def _quarters(
    places: Mapping[str, Sequence[int]], numbers: Mapping[str, float]
) -> dict[str, list[int]]:
    """The places by the quarter of all numbers that they lie in: as even as equal numbers allow."""
    order = sorted(places, key=numbers.__getitem__)
    every = [numbers[text] for text in order for _ in places[text]]
    edges = np.unique(np.quantile(every, [0.25, 0.5, 0.75]))
    parts: dict[int, list[str]] = {}
    for text in order:  # a number on an edge is below it
        parts.setdefault(int(np.searchsorted(edges, numbers[text])), []).append(text)
    return {
        f"{part[0]} to {part[-1]}": sorted(place for text in part for place in places[text])
        for part in parts.values()
    }
