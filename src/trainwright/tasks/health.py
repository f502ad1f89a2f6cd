"""How a run is doing, in words."""

from collections.abc import Mapping
from typing import NamedTuple

# What one evaluation has found out, by name: plain numbers, so that it can be saved as JSON.
Signs = Mapping[str, float]


class Ailment(NamedTuple):
    """What ails a run: its name, what shows it, and what helps."""

    name: str
    because: str
    remedy: str


class Health(NamedTuple):
    """What ails a run; nothing, where it is healthy."""

    ailments: tuple[Ailment, ...] = ()

    @property
    def is_ill(self) -> bool:
        """Whether anything ails the run."""
        return bool(self.ailments)

    def __str__(self) -> str:
        return ", ".join(ailment.name for ailment in self.ailments) or "healthy"
