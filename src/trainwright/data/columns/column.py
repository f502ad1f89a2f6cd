"""The contract of a column, and what several kinds share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from trainwright.data.tables.cells import MOST_FLOAT
from trainwright.wording import nearest, printable

Prepare = Callable[[Tensor], Tensor]


class BadInputError(Exception):
    """Why a person's input is none of this column; the message is half a line."""


class Scaling(NamedTuple):
    """What a network sees of stored numbers: `stored * scale + shift`, a number each a channel."""

    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def tensors(self, num_dims: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Scale and shift, shaped to broadcast over a batch of `num_dims` dimensions."""
        shape = (1, -1) + (1,) * (num_dims - 2)  # (1, C, 1, 1) for images, (1, F) for tables
        scale = torch.tensor(self.scale, device=device).reshape(shape)
        shift = torch.tensor(self.shift, device=device).reshape(shape)
        return scale, shift

    def prepare(self, shape: tuple[int, ...], device: torch.device) -> Prepare:
        """A function of stored examples (B, *shape) of any type, to float32."""
        # As large as an example: what is broadcast within one is walked through number by number,
        # which takes three times as long.
        scale, shift = (
            tensor.expand(1, *shape).contiguous() for tensor in self.tensors(len(shape) + 1, device)
        )

        def scaled(stored: Tensor) -> Tensor:
            values = stored.to(scale.dtype, copy=True)
            return torch.addcmul(shift, values, scale, out=values)

        return scaled


class Column(ABC):
    """The spec of one column. A kind is a frozen dataclass of plain values."""

    kind: ClassVar[str]
    read_from: ClassVar[Literal["file", "cells"]] = "cells"  # where a person's input comes from

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one example of it, as a network sees it."""

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of one example of it, as it is stored."""
        return self.shape

    @property
    def num_outputs(self) -> int:
        """How many numbers a network puts out that predicts this column."""
        raise ValueError(f"a column of {self.kind} is no target")

    @property
    def num_options(self) -> int:
        """Below which all whole numbers are that may be stored, where such are stored."""
        return 2

    def described(self) -> dict[str, Any]:
        """What a network needs to know of it, as plain JSON types."""
        return {"kind": self.kind, "shape": list(self.shape)}

    def fault(self, stored: Tensor) -> str:
        """What in stored examples (N, ...) is not as this says, in half a line; nothing if all is.

        A kind that knows more of its values says more.
        """
        shape = tuple(stored.shape[1:])
        if shape == self.stored_shape:
            return ""
        wanted = self.stored_shape
        return f"is of shape {shape}, and its column {type(self).__name__} of shape {wanted}"

    def fitted(self, name: str, read: Callable[[], Tensor]) -> Self:
        """With what is to be known of the training examples, such as mean and deviation.

        `read` gives them as stored, (N, ...); `name` is for messages. Raises DataError for what no
        network can learn from.
        """
        return self

    def is_like(self, other: "Column") -> bool:
        """Whether a network that has learned the other can be given this one, normalised alike."""
        return False

    def normalised_as(self, other: "Column") -> Self:
        """With the mean and deviation of one that `is_like` it."""
        return replace(self, mean=other.mean, std=other.std)  # type: ignore[attr-defined, type-var]

    @property
    def prepared_with(self) -> Mapping[str, Any]:
        """The settings of a source that decided how files became what is stored, by their keys.

        A source that takes all of them is given these when it is to measure what has learned this.
        """
        return {}

    def preparation(self, device: torch.device) -> Prepare:
        """What makes of stored examples (B, ...) on the device what a network sees."""
        return lambda stored: stored

    def cell_names(self, name: str) -> tuple[str, ...]:
        """The cells of a table's row that it is read from; `name` is its own."""
        return (name,)

    def features(self, name: str) -> Sequence[tuple[str, int]]:
        """What of a stored example can be told apart: each with its name, and how many numbers.

        One after the other they are the example; `name` is the column's own.
        """
        return [(name, math.prod(self.stored_shape))]

    def read(self, cells: Sequence[str], folder: Path) -> np.ndarray:
        """An example as stored, from the text of its cells; paths in it begin in `folder`.

        Raises BadInputError.
        """
        raise BadInputError(f"{self.kind} cannot be read from text")

    def of_file(self, file: Path | BinaryIO) -> np.ndarray:
        """An example as stored, from a file, for a kind that is `read_from` one.

        Raises BadInputError.
        """
        raise BadInputError(f"{self.kind} cannot be read from a file")

    def schema(self, name: str) -> dict[str, dict[str, Any]]:
        """What `taken` finds in an object of a person's, by its keys: each as JSON Schema.

        A form is made of it: `default` is what training had on average, `examples` are options.
        """
        return {cell: {"type": "string"} for cell in self.cell_names(name)}

    def taken(self, value: Any, name: str) -> np.ndarray:
        """An example as stored, from what a program has of it: here what its cells could hold.

        That of several cells is a sequence, or a mapping by their names; `name` is the column's
        own. None, NaN and pandas' NA are missing. Raises BadInputError.
        """
        names = self.cell_names(name)
        if isinstance(value, Mapping):
            lacking = [cell for cell in names if cell not in value]
            if lacking:
                raise without(lacking[0], value, names)
            value = [value[cell] for cell in names]
        elif isinstance(value, str) or not isinstance(value, Iterable):
            value = [value]
        cells = [_cell(inner) for inner in value]
        if len(cells) != len(names):
            raise BadInputError(f"{len(cells)} values, and the run has learned from {len(names)}")
        return self.read(cells, Path())

    @abstractmethod
    def text(self, value: Tensor) -> str:
        """One stored example for a line of a table."""

    def plain(self) -> dict[str, Any]:
        """What a checkpoint remembers, as plain JSON types; `column_of` makes it of that."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]


class Scaled(Column):
    """A column of which a network sees scaled numbers."""

    @property
    @abstractmethod
    def numbers(self) -> Scaling:
        """The scaling in numbers."""

    def constants(self) -> dict[str, Tensor]:
        """What `scaled` takes besides examples, by name: for a network that is to be exported."""
        scale, shift = self.numbers.tensors(1 + len(self.stored_shape), torch.device("cpu"))
        return {"scale": scale, "shift": shift}

    def scaled(self, stored: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Map stored examples (B, ...) to what a network sees, as `preparation` does."""
        return stored.float() * scale + shift


def _cell(value: Any) -> str:
    """A value as the text of a cell; nothing where it is missing."""
    is_missing = value is None or str(value) in ("nan", "<NA>", "NaT")
    return "" if is_missing else str(value)


def number_in(cell: str, name: str) -> float:
    """The number in the cell of that name. Raises BadInputError where float32 has none such."""
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not abs(value) < MOST_FLOAT:
        raise BadInputError(f"{printable(name)} is {printable(cell)[:40]!r}")
    return value


def place_of(text: str, options: Sequence[str], name: str) -> int:
    """The number of an option. Raises BadInputError for one that was never seen."""
    if text not in options:
        known = nearest(text, options)
        raise BadInputError(f"{printable(name)} is {printable(text)[:40]!r}, which is new{known}")
    return options.index(text)


def without(name: str, given: Mapping[Any, Any], needed: Sequence[str]) -> BadInputError:
    """What to raise for an example without `name`: what it has, and what is needed."""
    keys = [str(key) for key in given]
    has, needs = (", ".join([*names[:8], "..."][: len(names)]) for names in (keys, needed))
    has = f"the example has {printable(has)[:200]}" if keys else "the example is empty"
    near = nearest(name, keys)
    return BadInputError(
        f"there is no {printable(name)}{near}; {has}, and needs {printable(needs)[:200]}"
    )
