"""The contract of what happens along the way."""

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import Any, ClassVar

from torch import Tensor

from trainwright.engine.clock import is_multiple
from trainwright.engine.state import TrainState


class Hook(ABC):
    """Called after the steps on which it is due. Hooks never change weights."""

    # Whether it looks at what the steps have come to whenever it is due, and not only where another
    # has: to look is to wait for the device.
    always_looks: ClassVar[bool] = True
    # What it must remember, as plain JSON types: each is an attribute of that name, behind a "_".
    _remembered: ClassVar[tuple[str, ...]] = ()

    # Whether other ranks need not hear of it: it asks them for nothing, and never ends a run.
    is_rank_0s: ClassVar[bool] = False

    # Whether it needs the weights. Where they are sharded, other ranks hear of it after all.
    reads_weights: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """By which a checkpoint knows what it remembers."""
        return type(self).__name__

    @abstractmethod
    def due(self, step: int, total: int) -> bool:
        """Whether to call this hook after `step` steps of `total`."""

    @abstractmethod
    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> Any:
        """Look at the state, and at the step's metrics: tensors that nobody has read yet.

        A hook of a config's own may return numbers by name, which are logged, or `Images`, `Text`
        or a `Table` (`trainwright.tasks.show`), which are written to samples/.
        """

    def state_dict(self) -> dict[str, Any]:
        """What the hook must remember across a resume, as plain JSON types."""
        return {name: getattr(self, f"_{name}") for name in type(self)._remembered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; what an older version did not remember stays."""
        for name in type(self)._remembered:
            if name in state:
                setattr(self, f"_{name}", deepcopy(state[name]))


class Regular(Hook):
    """A hook with one cadence or several, each in steps (0: never)."""

    def __init__(self, *every: float) -> None:
        self._every = every

    def due(self, step: int, total: int) -> bool:
        """At each cadence, and after the last step."""
        return any(due_every(every, step, total) for every in self._every)


def due_every(every: float, step: int, total: int) -> bool:
    """Whether a hook with this cadence (in steps; 0: never) is due; always after the last step."""
    return every > 0 and (step == total or is_multiple(step, every))
