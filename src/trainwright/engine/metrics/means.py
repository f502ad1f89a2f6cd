"""The mean of each metric over the steps since the last line of the log.

A metric is a tensor that nobody has read, and to read it is to wait for the device. So steps are
kept as they are, and read some dozens at a time; steps on static tensors, which the next one
overwrites, add to sums on the device (`add_on_device`). Either way the values are added in float64
and in the order of the steps: a run that is interrupted, whose sums are saved, logs the same bits.
"""

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

MOST_UNREAD = 32  # steps; their tensors are small, but may be views of large ones

Names = tuple[str, ...]


class Shared(Mapping[str, Tensor]):
    """Metrics of one of several runs that share their tensors, which are read once for all."""

    @abstractmethod
    def numbers(self) -> Sequence[float]:
        """The means of this run's part of each tensor."""


class Added(dict[str, Tensor]):
    """Metrics of a step whose values `Means.add_on_device` has added already."""


@dataclass
class _Sums:
    """Of the steps that have metrics of these names, which are what tells kinds of steps apart."""

    count: int
    values: list[float]
    on_device: Tensor | None = None  # in place of `values`

    def read(self) -> list[float]:
        if self.on_device is not None:
            return [float(value) for value in self.on_device.tolist()]
        return self.values

    def clear(self) -> None:
        self.count, self.values = 0, [0.0] * len(self.values)
        if self.on_device is not None:
            self.on_device.zero_()  # in place: a captured graph adds to this tensor


class Means:
    """Sums and counts of metrics. `clear` begins a new line."""

    def __init__(self) -> None:
        self._sums: dict[Names, _Sums] = {}
        self._unread: list[Mapping[str, Tensor]] = []

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Count a step. One that was skipped has no metrics."""
        if isinstance(metrics, Added):
            self._of(tuple(metrics)).count += 1
        elif metrics:
            self._unread.append(metrics)
            if len(self._unread) >= MOST_UNREAD:
                self._read_steps()

    def add_on_device(
        self, metrics: Mapping[str, Tensor], device: torch.device
    ) -> Mapping[str, Tensor]:
        """Add the metrics of a step where they are, in two kernels, and wait for nothing.

        Where some are not on that device, none is added.
        """
        if any(value.device != device for value in metrics.values()):
            return metrics
        self._read_steps()  # those before
        names = tuple(metrics)
        sums = self._of(names)
        if sums.on_device is None:
            sums.on_device = torch.zeros(len(names), dtype=torch.float64, device=device)
            for place, value in zip(sums.on_device, sums.values, strict=True):
                place.fill_(value)
        values = [v if v.ndim == 0 else v.mean() for v in metrics.values()]
        sums.on_device.add_(torch.stack(values))
        return Added(metrics)

    def read(self) -> dict[str, float]:
        """The mean of each metric over the steps that had it."""
        self._read_steps()
        totals: dict[str, tuple[float, int]] = {}
        for names, sums in self._sums.items():
            if sums.count:
                for name, value in zip(names, sums.read(), strict=True):
                    total, count = totals.get(name, (0.0, 0))
                    totals[name] = total + value, count + sums.count
        return {name: total / count for name, (total, count) in totals.items()}

    def clear(self) -> None:
        """Begin anew."""
        self._unread.clear()
        for sums in self._sums.values():
            sums.clear()

    def state_dict(self) -> list[dict[str, Any]]:
        """The sums so far, as plain JSON types; null for what is not finite."""
        self._read_steps()
        return [
            {
                "names": list(names),
                "count": sums.count,
                "sums": [v if math.isfinite(v) else None for v in sums.read()],
            }
            for names, sums in self._sums.items()
        ]

    def load_state_dict(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Restore what `state_dict` gave."""
        self._unread.clear()
        self._sums.clear()
        for kind in state:
            names, values = tuple(map(str, kind["names"])), kind["sums"]
            if len(names) != len(values):
                raise ValueError("there are not as many sums of metrics as names")
            numbers = [math.nan if value is None else float(value) for value in values]
            self._sums[names] = _Sums(int(kind["count"]), numbers)

    def _of(self, names: Names) -> _Sums:
        return self._sums.setdefault(names, _Sums(0, [0.0] * len(names)))

    def _read_steps(self) -> None:
        """Add the steps that nobody has read, in their order, to the sums on the host."""
        kinds: dict[Names, list[Mapping[str, Tensor]]] = {}
        for metrics in self._unread:
            kinds.setdefault(tuple(metrics), []).append(metrics)
        self._unread.clear()
        for names, steps in kinds.items():
            sums = self._of(names)
            sums.values, sums.on_device = sums.read(), None
            sums.count += len(steps)
            for index, column in enumerate(_columns(names, steps)):
                # (`sum` rounds otherwise from Python 3.12 on.)
                sums.values[index] = reduce(add, column, sums.values[index])


def _columns(names: Names, steps: Sequence[Mapping[str, Tensor]]) -> Iterable[Sequence[float]]:
    """Of each metric its numbers in some steps."""
    shared = [step.numbers() for step in steps if isinstance(step, Shared)]
    if len(shared) == len(steps):
        return zip(*shared, strict=True)
    return [_numbers([step[name] for step in steps]) for name in names]


def _numbers(values: list[Tensor]) -> list[float]:
    """The mean of each tensor, read for all of them at once where that costs less."""
    if values[0].ndim == 0 and values[0].device.type == "cpu":
        return [float(value) for value in values]  # which costs less than to stack them
    if len({value.shape for value in values}) > 1:
        values = [value.mean() for value in values]
    together = torch.stack(values)
    numbers: list[float] = (
        together if together.ndim == 1 else together.flatten(1).mean(1)
    ).tolist()
    return numbers
