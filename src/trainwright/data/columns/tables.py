"""What a network is given of a table's row: numbers and categories."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns.column import (
    BadInputError,
    Column,
    Prepare,
    Scaled,
    Scaling,
    number_in,
    place_of,
)
from trainwright.data.statistics import feature_statistics
from trainwright.data.tables.cells import ISO, NUMBER, is_missing, parts, read_cell
from trainwright.wording import format_number, printable

UNSEEN, MISSING = 0, 1  # the first two options of open categories
MOST_TOLD = 1000  # options, to a form


@dataclass(frozen=True)
class Numbers(Scaled):
    """The numbers of a table's row, stored as (N, F) float32 in their own units.

    A network sees `(stored - mean) / std`, and where there is a `limit` no number beyond it: x
    becomes x / sqrt(1 + (x / limit)²) (Holzmüller et al. 2024). NaN is missing, where there is
    `fill`: the number that stands for it, of each feature. The features that `flagged` numbers are
    each followed up, at the end of the row, by 1 where they are missing and 0 elsewhere.

    `cells`: the cells that it is read from, each by its name and how (`number`, `comma` where one
    stands before the tenths, `date %d.%m.%Y`, `text 64`), where that is not a number a feature;
    `null` are the words for a missing one, in small letters.
    """

    kind: ClassVar[str] = "numbers"

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    names: tuple[str, ...] = ()  # of the features; empty where they have none
    fill: tuple[float, ...] = ()
    flagged: tuple[int, ...] = ()
    limit: float = 0.0
    cells: tuple[tuple[str, str], ...] = ()
    null: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.fill) not in (0, len(self.mean)):
            raise ValueError("there are not as many numbers to fill in as means")
        if any(place >= len(self.mean) for place in self.flagged) or (
            self.flagged and not self.fill
        ):
            raise ValueError("a feature is flagged that there is not")
        if self.cells and len(self.mean) != sum(len(parts(how)) for _, how in self.cells):
            raise ValueError("its cells are not as many numbers as there are means")

    @property
    def shape(self) -> tuple[int, ...]:
        """(F + flags,)."""
        return (len(self.mean) + len(self.flagged),)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """(F,)."""
        return (len(self.mean),)

    @property
    def numbers(self) -> Scaling:
        """Mean 0 and deviation 1 over the training rows."""
        return Scaling(
            scale=tuple(1 / std for std in self.std),
            shift=tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True)),
        )

    def fitted(self, name: str, read: Callable[[], Tensor]) -> Self:
        """With the mean and deviation of each feature."""
        mean, std = feature_statistics(name, read(), self.names)
        return replace(self, mean=mean, std=std)

    def is_like(self, other: Column) -> bool:
        """The same features."""
        if not isinstance(other, Numbers):
            return False
        return (
            other.names == self.names
            and other.stored_shape == self.stored_shape
            and other.cells == self.cells
        )

    def normalised_as(self, other: Column) -> Self:
        """With the numbers of one that `is_like` it: what a network has learned to see."""
        assert isinstance(other, Numbers)
        return replace(
            self,
            mean=other.mean,
            std=other.std,
            fill=other.fill,
            flagged=other.flagged,
            limit=other.limit,
        )

    def preparation(self, device: torch.device) -> Prepare:
        """Standardised; what is missing filled in and flagged."""
        if not (self.fill or self.limit):
            return self.numbers.prepare(self.stored_shape, device)
        constants = {name: value.to(device) for name, value in self.constants().items()}
        return lambda stored: self.scaled(stored, **constants)

    def constants(self) -> dict[str, Tensor]:
        """Scale and shift, and what is filled in: each (1, F)."""
        constants = super().constants()
        return {**constants, "fill": torch.tensor([self.fill])} if self.fill else constants

    def scaled(
        self, stored: Tensor, scale: Tensor, shift: Tensor, fill: Tensor | None = None
    ) -> Tensor:
        """Map (B, F) as stored to (B, F + flags)."""
        values = stored.to(scale.dtype)
        if fill is None:
            return self._within(values * scale + shift)
        missing = values.isnan()
        seen = self._within(torch.where(missing, fill, values) * scale + shift)
        if not self.flagged:
            return seen
        return torch.cat([seen, missing[:, list(self.flagged)].to(seen.dtype)], 1)

    def _within(self, values: Tensor) -> Tensor:
        if not self.limit:
            return values
        values = values.clamp(-1e6, 1e6)  # whose squares float32 holds
        return values / (1 + (values / self.limit).square()).sqrt()

    def cell_names(self, name: str) -> tuple[str, ...]:
        """The cells, or the features."""
        if self.cells:
            return tuple(cell for cell, _ in self.cells)
        return self.names or tuple(f"column {i + 1}" for i in range(len(self.mean)))

    def features(self, name: str) -> list[tuple[str, int]]:
        """The cells, or the features."""
        if self.cells:
            return [(cell, len(parts(how))) for cell, how in self.cells]
        return [(feature, 1) for feature in self.cell_names(name)]

    def read(self, cells: Sequence[str], folder: Path) -> np.ndarray:
        """(F,) float32."""
        names = self.cell_names("")
        if not self.cells:
            numbers = [number_in(cell, name) for cell, name in zip(cells, names, strict=True)]
            return np.array(numbers, dtype=np.float32)
        values: list[float] = []
        for cell, (name, how) in zip(cells, self.cells, strict=True):
            try:
                values += read_cell(cell, how, self.null)
            except (ValueError, OverflowError):
                told = f"{printable(name)} is {printable(cell)[:40]!r}"
                wanted = "number" if how in NUMBER else how.partition(" ")[0]
                raise BadInputError(f"{told}, which is no {wanted}") from None
        return np.array(values, dtype=np.float32)

    def schema(self, name: str) -> dict[str, dict[str, Any]]:
        """A number or text a cell, null where it may be missing."""
        found, place = {}, 0
        for cell, how in self.cells or [(cell, "number") for cell in self.cell_names(name)]:
            kind, _, form = how.partition(" ")
            told: dict[str, Any] = {"type": "number" if kind == "number" else "string"}
            if kind in NUMBER:
                mean = float(f"{self.mean[place]:.4g}")
                told["default"] = mean if kind == "number" else f"{mean:g}".replace(".", ",")
            elif kind == "date":
                day = datetime(1970, 1, 1) + timedelta(days=365.25 * self.mean[place])
                told["default"] = day.date().isoformat() if form == ISO else day.strftime(form)
                told |= {"format": "date"} if form == ISO else {"description": form}
            found[cell] = told | ({"type": [told["type"], "null"]} if self.fill else {})
            place += len(parts(how))
        return found

    def text(self, value: Tensor) -> str:
        """The first few numbers."""
        shown = [format_number(number) for number in value.flatten()[:6].tolist()]
        return " ".join(shown) + (" ..." if value.numel() > len(shown) else "")


@dataclass(frozen=True)
class Categories(Column):
    """Which of a few things each of several features is, stored as (N, F) int64 numbers of them.

    Where it `is_open`, the first two options of each feature stand for what training has not seen
    (0) and for what is missing (1), `null` being the words for that: an embedding has a row for
    each, and every cell can be read.
    """

    kind: ClassVar[str] = "categories"

    names: tuple[str, ...] = ()  # of the features
    options: tuple[tuple[str, ...], ...] = ()  # of each feature, in the order of their numbers
    is_open: bool = False
    null: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.is_open and any(len(options) < 2 for options in self.options):
            raise ValueError("a feature lacks the options for what is unseen and missing")

    @property
    def shape(self) -> tuple[int, ...]:
        """(F,)."""
        return (len(self.options),)

    def described(self) -> dict[str, Any]:
        """With how many options each feature has, for an embedding."""
        return {**super().described(), "sizes": list(self.sizes)}

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many options each feature has: the rows of its embedding."""
        return tuple(map(len, self.options))

    @property
    def num_options(self) -> int:
        """Of the feature with the fewest."""
        return min(self.sizes, default=0)

    def cell_names(self, name: str) -> tuple[str, ...]:
        """The features."""
        return self.names

    def features(self, name: str) -> list[tuple[str, int]]:
        """The features."""
        return [(feature, 1) for feature in self.names]

    def read(self, cells: Sequence[str], folder: Path) -> np.ndarray:
        """(F,) int64."""
        if self.is_open:
            return np.array([self.place(cell, i) for i, cell in enumerate(cells)], dtype=np.int64)
        features = zip(cells, self.options, self.names, strict=True)
        return np.array([place_of(cell, options, name) for cell, options, name in features])

    def place(self, cell: str, feature: int) -> int:
        """The number of what stands in a cell of a feature, where it `is_open`."""
        if is_missing(cell, self.null):
            return MISSING
        return self._places[feature].get(cell, UNSEEN)

    @cached_property
    def _places(self) -> list[dict[str, int]]:
        return [{word: i for i, word in enumerate(o) if i > MISSING} for o in self.options]

    def schema(self, name: str) -> dict[str, dict[str, Any]]:
        """One of the options; where it `is_open`, of what training has seen, or anything else."""
        if not self.is_open:
            told = zip(self.names, self.options, strict=True)
            return {cell: {"enum": list(options)} for cell, options in told}
        seen = [list(o[MISSING + 1 :][:MOST_TOLD]) for o in self.options]
        kind = {"type": ["string", "null"]}
        return {c: {**kind, "examples": o} for c, o in zip(self.names, seen, strict=True)}

    def text(self, value: Tensor) -> str:
        """The names of what it is."""
        return " ".join(o[int(v)] for v, o in zip(value.tolist(), self.options, strict=True))
