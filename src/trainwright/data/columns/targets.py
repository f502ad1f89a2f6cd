"""What a network predicts: one class, any number of them, values. And how that is told."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns.column import Column, Prepare, number_in, place_of
from trainwright.data.statistics import feature_statistics
from trainwright.wording import format_number


class Target(Column, ABC):
    """A column of which a task's `predict` says what it holds, and how that is told a person."""

    def mixed(self, values: Tensor, others: Tensor, share: Tensor) -> Tensor:
        """The target of mixtures: `share` (B,) of values (B, ...), the rest of others.

        Raises ValueError for a kind that has nothing between two of its values.
        """
        raise ValueError(f"{self.kind} cannot be mixed")

    @abstractmethod
    def headings(self, name: str) -> list[str]:
        """What stands above `line`; `name` is the column's own."""

    @abstractmethod
    def line(self, answer: Tensor, top: int) -> list[str]:
        """An answer, (...), for a line of a table; of classes the `top` likeliest."""

    @abstractmethod
    def csv_header(self) -> list[str]:
        """What stands above `csv_cells`."""

    @abstractmethod
    def csv_cells(self, answer: Tensor) -> list[Any]:
        """All of an answer, in as many cells whatever it is."""

    @abstractmethod
    def told(self, answer: Tensor, top: int) -> dict[str, Any]:
        """An answer as plain JSON types."""


@dataclass(frozen=True)
class Classes(Target):
    """One class for each example, stored as (N,) int64."""

    kind: ClassVar[str] = "classes"

    names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """()."""
        return ()

    @property
    def num_outputs(self) -> int:
        """A number a class."""
        return len(self.names)

    def read(self, cells: Sequence[str], folder: Path) -> np.ndarray:
        """() int64."""
        return np.array(place_of(cells[0], self.names, "the class"))

    def text(self, value: Tensor) -> str:
        """The name of the class."""
        return self.names[int(value)]

    def mixed(self, values: Tensor, others: Tensor, share: Tensor) -> Tensor:
        """Shares of the classes, (B, C) float32, of classes (B,)."""
        shares = torch.zeros(len(values), len(self.names), device=values.device)
        shares.scatter_(1, values[:, None], share[:, None].to(shares.dtype))
        return shares.scatter_add_(1, others[:, None], 1 - share[:, None].to(shares.dtype))

    def likeliest(self, answer: Tensor, top: int) -> list[tuple[str, float]]:
        """Names and probabilities of the likeliest classes, from probabilities (C,)."""
        shares, indices = answer.topk(min(top, len(self.names)))
        pairs = zip(shares.tolist(), indices.tolist(), strict=True)
        return [(self.names[index], share) for share, index in pairs]

    def headings(self, name: str) -> list[str]:
        """The likeliest class, and those that come next."""
        return ["CLASS" if name == "targets" else name.upper(), "PROBABILITY", "NEXT"]

    def line(self, answer: Tensor, top: int) -> list[str]:
        """Of probabilities (C,)."""
        (best, share), *others = self.likeliest(answer, top)
        return [best, f"{share:.3f}", "  ".join(f"{name} {p:.3f}" for name, p in others)]

    def csv_header(self) -> list[str]:
        """The likeliest class, and a column a class."""
        return ["class", "probability", *self.names]

    def csv_cells(self, answer: Tensor) -> list[Any]:
        """Of probabilities (C,)."""
        [(best, share)] = self.likeliest(answer, 1)
        return [best, f"{share:.6g}", *(f"{p:.6g}" for p in answer.tolist())]

    def told(self, answer: Tensor, top: int) -> dict[str, Any]:
        """Of probabilities (C,)."""
        likeliest = self.likeliest(answer, top)
        named = {name: round(share, 6) for name, share in likeliest}
        return {"class": likeliest[0][0], "probability": round(likeliest[0][1], 6), "top": named}


@dataclass(frozen=True)
class Labels(Target):
    """Any number of classes at once for each example, stored as (N, C) uint8 of 0 and 1.

    `words`: what stood in a table for 0 and for 1 of each class.
    """

    kind: ClassVar[str] = "labels"

    names: tuple[str, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """(C,)."""
        return (len(self.names),)

    @property
    def num_outputs(self) -> int:
        """A number a class."""
        return len(self.names)

    def preparation(self, device: torch.device) -> Prepare:
        """To float32, as losses take it."""
        return lambda stored: stored.float()

    def mixed(self, values: Tensor, others: Tensor, share: Tensor) -> Tensor:
        """(B, C), from 0 to 1."""
        return _between(values, others, share)

    def text(self, value: Tensor) -> str:
        """The names of its classes."""
        return ", ".join(n for n, is_one in zip(self.names, value.tolist(), strict=True) if is_one)

    def headings(self, name: str) -> list[str]:
        """The classes that it has."""
        return ["CLASSES" if name == "targets" else name.upper(), "NEXT"]

    def line(self, answer: Tensor, top: int) -> list[str]:
        """Of probabilities (C,): those from 1/2 on, and the likeliest of the others."""
        shares = sorted(zip(answer.tolist(), self.names, strict=True), reverse=True)
        told = [f"{name} {share:.3f}" for share, name in shares]
        num = sum(share >= 0.5 for share, _ in shares)
        return ["  ".join(told[:num]) or "none", "  ".join(told[num : max(num, top)])]

    def csv_header(self) -> list[str]:
        """A column a class."""
        return list(self.names)

    def csv_cells(self, answer: Tensor) -> list[Any]:
        """Probabilities."""
        return [f"{share:.6g}" for share in answer.tolist()]

    def told(self, answer: Tensor, top: int) -> dict[str, Any]:
        """The classes that it has, and all probabilities."""
        shares = dict(zip(self.names, answer.tolist(), strict=True))
        has = [name for name, share in shares.items() if share >= 0.5]
        return {"classes": has, "probabilities": {n: round(p, 6) for n, p in shares.items()}}


@dataclass(frozen=True)
class Values(Target):
    """One value to predict, stored as (N,) float32, or several, (N, K), in their own units.

    With `unit`, a number a value, what is learned is asinh(value / unit), which is a logarithm of
    what is large: `mean` and `std` are of that.
    """

    kind: ClassVar[str] = "values"

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    names: tuple[str, ...] = ()  # of several; of one: none
    unit: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.unit) not in (0, len(self.mean)):
            raise ValueError("there are not as many units as means")

    @property
    def shape(self) -> tuple[int, ...]:
        """(), or (K,)."""
        return (len(self.mean),) if self.names else ()

    @property
    def num_outputs(self) -> int:
        """A number a value."""
        return len(self.mean)

    def fitted(self, name: str, read: Callable[[], Tensor]) -> Self:
        """With the mean and deviation of the training values."""
        stored = read()
        columns = stored if stored.dim() > 1 else stored[:, None]
        mean, std = feature_statistics(name, columns, self.names)
        return replace(self, mean=mean, std=std)

    def is_like(self, other: Column) -> bool:
        """The same values."""
        return isinstance(other, Values) and other.names == self.names

    def mixed(self, values: Tensor, others: Tensor, share: Tensor) -> Tensor:
        """Values between two."""
        return _between(values, others, share)

    def standardised(self, values: Tensor) -> Tensor:
        """Values in units of their deviation about their mean."""
        if self.unit:
            values = (values / values.new_tensor(self._of_each(self.unit))).asinh()
        if not self.names:
            return (values - self.mean[0]) / self.std[0]
        return (values - values.new_tensor(self.mean)) / values.new_tensor(self.std)

    def in_units(self, standardised: Tensor) -> Tensor:
        """The other way: values in their own units."""
        if not self.names:
            values = standardised * self.std[0] + self.mean[0]
        else:
            std, mean = standardised.new_tensor(self.std), standardised.new_tensor(self.mean)
            values = standardised * std + mean
        if not self.unit:
            return values
        return values.sinh() * values.new_tensor(self._of_each(self.unit))

    def _of_each(self, numbers: tuple[float, ...]) -> float | tuple[float, ...]:
        return numbers if self.names else numbers[0]

    def cell_names(self, name: str) -> tuple[str, ...]:
        """The values."""
        return self.names or (name,)

    def read(self, cells: Sequence[str], folder: Path) -> np.ndarray:
        """() or (K,) float32."""
        values = np.array([number_in(cell, "the value") for cell in cells], dtype=np.float32)
        return values if self.names else values[0]

    def text(self, value: Tensor) -> str:
        """The numbers."""
        return " ".join(format_number(number) for number in value.flatten().tolist())

    def headings(self, name: str) -> list[str]:
        """The value, or each by its name."""
        return [n.upper() for n in self.names] or ["VALUE" if name == "targets" else name.upper()]

    def line(self, answer: Tensor, top: int) -> list[str]:
        """The numbers."""
        return [format_number(number) for number in answer.flatten().tolist()]

    def csv_header(self) -> list[str]:
        """The value, or each by its name."""
        return list(self.names) or ["value"]

    def csv_cells(self, answer: Tensor) -> list[Any]:
        """The numbers."""
        return list(answer.flatten().tolist())

    def told(self, answer: Tensor, top: int) -> dict[str, Any]:
        """The numbers by name."""
        return dict(zip(self.csv_header(), self.csv_cells(answer), strict=True))


def _between(values: Tensor, others: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(others, values, share.view(-1, *(1 for _ in values.shape[1:])))
