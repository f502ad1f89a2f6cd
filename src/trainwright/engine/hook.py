"""The contract of what happens along the way."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from trainwright.engine.clock import is_multiple
from trainwright.engine.state import TrainState


class Hook(ABC):
    """Called after the steps on which it is due. Hooks never change weights."""

    # Whether it looks at what the steps have come to whenever it is due, and not only where another
    # has: to look is to wait for the device.
    always_looks: ClassVar[bool] = True

    # Whether other ranks need not hear of it: it asks them for nothing, and never ends a run.
    is_rank_0s: ClassVar[bool] = False

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
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        assert not state


def due_every(every: float, step: int, total: int) -> bool:
    """Whether a hook with this cadence (in steps; 0: never) is due; always after the last step."""
    return every > 0 and (step == total or is_multiple(step, every))
