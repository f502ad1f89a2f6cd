"""Objects that a program gives to a run, in whose config are the functions that return them.

What nobody gives again, another process cannot build: then a ConfigError says so.
"""

import contextlib
import copy
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from trainwright.data.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Given:
    """A network, a dataset, or both. The network is trained itself, and no copy of it."""

    TARGETS: ClassVar = (f"{__name__}.model", f"{__name__}.data")

    model: nn.Module | None = None
    dataset: Dataset | None = None

    def copied(self) -> "Given":
        """The same with a copy of the network, which other weights may be loaded into."""
        return Given(copy.deepcopy(self.model), self.dataset)


_given: ContextVar[Given | None] = ContextVar("what a program has given", default=None)


@contextlib.contextmanager
def giving(objects: Given | None) -> Iterator[None]:
    """While this context is open, configs mean these objects."""
    before = _given.set(objects)
    try:
        yield
    finally:
        _given.reset(before)


def model() -> nn.Module:
    """The network that is given. Raises ValueError where there is none."""
    given = _given.get()
    if given is None or given.model is None:
        raise ValueError(
            "a program gave this run its network, which is not here\n"
            "  give it one like that: trainwright.load(RUN, model=...)"
        )
    return given.model


def data() -> Dataset:
    """The dataset that is given. Raises ValueError where there is none."""
    given = _given.get()
    if given is None or given.dataset is None:
        raise ValueError(
            "a program gave this run its data, which are not here\n"
            "  give them again: trainwright.load(RUN, data=...)"
        )
    return given.dataset
