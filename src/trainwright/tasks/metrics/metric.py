"""What is known of a split, gathered batch by batch: no split has to fit into memory."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from trainwright.data.examples import Batch
from trainwright.errors import ConfigError
from trainwright.tasks.metrics.calibration import Bin

Answers = dict[str, Tensor]  # what a task says of a batch, by name, each (B, ...)


@dataclass(frozen=True)
class ByClass:
    """What is known class by class, in the order of the class names."""

    names: tuple[str, ...]
    confusion: Tensor  # (C, C) int64 on the CPU, rows are the truth
    bins: list[Bin]  # by confidence
    brier: float


class Metric(ABC):
    """One number about a split, or several. It begins empty, is updated, and then computes.

    A metric of one's own needs the first three methods. `merge` takes in what another of its kind
    has seen of other examples, as where several processes share a split.
    """

    num_examples: int = 0

    @abstractmethod
    def update(self, batch: Batch, answers: Answers) -> None:
        """Take in a batch and what `Task.evaluate` says of it."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in all that `other` has taken in."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The numbers by name. Waits for the device."""

    def resampled(self, indices: Tensor) -> dict[str, float]:
        """The same numbers of these examples of the split alone, (n,) int64; repeats count.

        None of them where it keeps nothing of single examples: then there are no intervals.
        """
        return {}

    def signs(self, scores: Mapping[str, float]) -> dict[str, float]:
        """What was seen, and its `scores`, say of the run's health."""
        return {}

    def by_class(self, indices: Tensor | None = None) -> ByClass | None:
        """What is known class by class, where there are classes; of these examples alone, (n,)."""
        return None


class Gathered(Metric):
    """Keeps a few numbers of each example, and makes the numbers of the split from those."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Tensor]] = {}

    def keep(self, values: Mapping[str, Tensor]) -> None:
        """Keep values (B, ...) of the examples of a batch, by name."""
        for name, value in values.items():
            self._parts.setdefault(name, []).append(value.detach())
        self.num_examples += len(next(iter(values.values())))

    def merge(self, other: Self) -> None:
        """The examples of the other come after these."""
        for name, parts in other._parts.items():
            self._parts.setdefault(name, []).extend(parts)
        self.num_examples += other.num_examples

    @property
    def values(self) -> dict[str, Tensor]:
        """What was kept of all examples, each (N, ...), on the CPU."""
        joined = {name: torch.cat(parts).cpu() for name, parts in self._parts.items()}
        self._parts = {name: [value] for name, value in joined.items()}
        return joined

    def compute(self) -> dict[str, float]:
        """Of all examples."""
        return self.of(self.values)

    def resampled(self, indices: Tensor) -> dict[str, float]:
        """Of some."""
        return self.of({name: value[indices] for name, value in self.values.items()})

    @abstractmethod
    def of(self, values: dict[str, Tensor]) -> dict[str, float]:
        """The numbers of examples, from what was kept of them, each (n, ...)."""


class Measurement:
    """All that is measured on a split: the task's own metric, and those that a config adds."""

    def __init__(self, main: Metric, own: Mapping[str, Metric]) -> None:
        self.main = main
        self._own = {name: copy.deepcopy(metric) for name, metric in own.items()}

    def update(self, batch: Batch, answers: Answers) -> None:
        """Let all of them take in a batch."""
        for metric in (self.main, *self._own.values()):
            metric.update(batch, answers)

    def compute(self) -> dict[str, float]:
        """Every number. What a metric of a config calls as it is called itself has its name.

        Raises ConfigError where the task has a number of that name, by which it may be ranked.
        """
        scores = self.main.compute()
        for name, metric in self._own.items():
            found: object = metric.compute()
            if not isinstance(found, Mapping):
                raise TypeError(
                    f"task.metrics.{name} computed a {type(found).__name__}: a metric computes "
                    "numbers by name"
                )
            numbers = {n if n == name else f"{name}/{n}": float(v) for n, v in found.items()}
            for taken in scores.keys() & numbers.keys():
                raise ConfigError(
                    f"task.metrics.{name}: the task itself measures {taken}; choose another name"
                )
            scores |= numbers
        return scores
