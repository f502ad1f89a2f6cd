"""How a run is doing, in words."""

from collections.abc import Mapping
from typing import NamedTuple

HEALTHY, TOO_EARLY = "healthy", "too early to tell"
SOUND = (HEALTHY, TOO_EARLY)  # what is no illness

# What one evaluation has found out, by name: plain numbers, so that it can be saved as JSON.
Signs = Mapping[str, float]


class Ailment(NamedTuple):
    """What ails a run: its name, what shows it, and what helps."""

    name: str
    because: str
    remedy: str


class Health(NamedTuple):
    """What ails a run; nothing, where it is healthy, or where there is too little to go by yet."""

    ailments: tuple[Ailment, ...] = ()
    is_early: bool = False

    @property
    def is_ill(self) -> bool:
        """Whether anything ails the run."""
        return bool(self.ailments)

    def __str__(self) -> str:
        sound = TOO_EARLY if self.is_early else HEALTHY
        return ", ".join(ailment.name for ailment in self.ailments) or sound
