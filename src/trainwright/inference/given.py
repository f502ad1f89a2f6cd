"""What a program gives to be predicted: arrays, images, paths, texts, rows; as examples."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trainwright.data.arrays import input_column
from trainwright.data.columns import BadInputError, Categories, Column, Image, Numbers
from trainwright.data.images.decode import BadImageError, fitted
from trainwright.errors import DataError
from trainwright.inference.predict import Prediction, batch_of, rows
from trainwright.inference.trained import Trained
from trainwright.report.plots.grid import tiles
from trainwright.wording import printable

GIVEN = Path("example")  # what is said for the file of one that comes from none
MOST_NAMED = 3  # in an error


def examples_of(trained: Trained, given: Any) -> Iterator[Prediction]:
    """The examples that a program gives, each as its columns store it, or what is wrong with it.

    An array or a tensor is a batch (N, ...); a mapping holds one for each input by its name, or,
    like a pandas table, the cells of rows by theirs; a list holds examples of any of these kinds
    one by one. A path names a file or, for a run that has learned from rows, a table of them.
    Raises DataError for a batch that is none of this run's.
    """
    inputs = {name: trained.info.columns[name] for name in trained.info.inputs}
    first, *others = inputs.items()
    is_frame = hasattr(given, "to_dict") and hasattr(given, "columns")  # of pandas, polars
    if isinstance(given, Mapping) and set(inputs) <= set(given):
        yield from _batch({name: _stored(name, given[name], c) for name, c in inputs.items()})
    elif is_frame and not others and isinstance(first[1], Numbers) and not first[1].names:
        yield from _batch({first[0]: _stored(first[0], np.asarray(given), first[1])})
    elif is_frame:
        names = [str(name) for name in given.columns]
        values = zip(*(given[name] for name in given.columns), strict=True)
        yield from _each(inputs, (dict(zip(names, row, strict=True)) for row in values))
    elif isinstance(given, Mapping):
        values = zip(*map(_listed, given.values()), strict=True)
        yield from _each(inputs, (dict(zip(given, row, strict=True)) for row in values))
    elif isinstance(given, np.ndarray | Tensor) and not others:
        yield from _batch({first[0]: _stored(first[0], given, first[1])})
    elif isinstance(given, Path) and (others or first[1].read_from != "file"):
        yield from rows(inputs, [given])
    elif isinstance(given, str) and (others or isinstance(first[1], Numbers | Categories)):
        yield from rows(inputs, [Path(given)])
    else:
        is_one = isinstance(given, str | Path) or not isinstance(given, Iterable)
        yield from _each(inputs, [given] if is_one else given)


def prepared(trained: Trained, given: Any) -> dict[str, Tensor]:
    """The batch that the network is given of what a program gives. Raises DataError."""
    examples = list(examples_of(trained, given))
    raise_unusable(examples)
    return batch_of(trained, examples)


def raise_unusable(found: Sequence[Prediction]) -> None:
    """Raise DataError that names what of some examples cannot be used, or that there are none."""
    bad = [example for example in found if example.problem is not None]
    if not found:
        raise DataError("there are no examples")
    if bad:
        named = [
            f"  {printable(str(b.path))}{'' if b.line is None else f' {b.line}'}: {b.problem}"
            for b in bad[:MOST_NAMED]
        ]
        more = [f"  and {len(bad) - MOST_NAMED:,} more"] if len(bad) > MOST_NAMED else []
        first = f"{len(bad):,} of {len(found):,} examples cannot be used"
        raise DataError("\n".join([first, *named, *more]))


def _listed(values: Any) -> Sequence[Any]:
    return [values] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)


def _each(inputs: Mapping[str, Column], examples: Iterable[Any]) -> Iterator[Prediction]:
    """Examples one by one: of several inputs each is a mapping by their cells, or their names."""
    for number, example in enumerate(examples):
        path = Path(example) if isinstance(example, str | Path) else GIVEN
        line = number if path is GIVEN else None
        try:
            columns = {n: column.taken(_part(example, n), n) for n, column in inputs.items()}
        except BadInputError as error:
            yield Prediction(path, line, problem=str(error))
        else:
            yield Prediction(path, line, columns)


def _part(example: Any, name: str) -> Any:
    """What of an example is for the column of that name."""
    return example[name] if isinstance(example, Mapping) and name in example else example


def _batch(columns: Mapping[str, np.ndarray]) -> Iterator[Prediction]:
    lengths = {name: len(stored) for name, stored in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{length:,} of {name}" for name, length in lengths.items())
        raise DataError(f"predict: {told}\n  each needs as many examples as the others")
    for number in range(next(iter(lengths.values()))):
        yield Prediction(GIVEN, number, {name: stored[number] for name, stored in columns.items()})


def _stored(name: str, batch: Any, column: Column) -> np.ndarray:
    """A batch (N, ...) of examples of a column as it stores them. Raises DataError."""
    if not isinstance(column, Image | Numbers) or (isinstance(column, Numbers) and column.cells):
        return _one_by_one(name, batch, lambda value: column.taken(value, name))
    _, stored = input_column(name, batch, column)
    found = stored.numpy()
    if found.shape[1:] == column.stored_shape:
        return found
    if isinstance(column, Image) and {column.size[0], found.shape[1]} <= {1, 3}:
        channels, *size = column.size
        fit, sides = column.fit, (size[0], size[1])
        pictures = tiles(stored, scale=1)
        return np.stack([fitted(p, sides, channels=channels, fit=fit) for p in pictures])
    has, wanted = ("x".join(map(str, s)) for s in (found.shape[1:], column.stored_shape))
    raise DataError(f"{name}: examples of {has}, and the run has learned {wanted}")


def _one_by_one(name: str, batch: Any, take: Callable[[Any], np.ndarray]) -> np.ndarray:
    taken = []
    for number, value in enumerate(batch):
        try:
            taken.append(take(value))
        except (BadInputError, BadImageError) as error:
            raise DataError(f"{name}: example {number}: {error}") from None
    return np.stack(taken)
