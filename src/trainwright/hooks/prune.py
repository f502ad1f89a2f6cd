"""Stop a run that others of its sweep have left behind."""

import logging
from typing import ClassVar, Protocol

from torch import Tensor

from trainwright.engine.clock import Clock
from trainwright.engine.hook import Hook
from trainwright.engine.state import TrainState
from trainwright.errors import ConfigError

log = logging.getLogger(__name__)


class Judge(Protocol):
    """Compares a run with the others of its sweep."""

    metric: str  # as metrics.jsonl has it, such as validation/accuracy

    def verdict(self, step: int, clock: Clock, value: float) -> str | None:
        """Why the run should stop after `step` steps with this value; None: go on."""


class Prune(Hook):
    """Reports a metric to the judge whenever it has a new value, and stops if it says so.

    The run keeps its checkpoint, so that it can go on if it turns out that it should have.
    """

    is_rank_0s = True

    always_looks: ClassVar[bool] = False  # but at the steps that were evaluated

    def __init__(self, judge: Judge) -> None:
        self.has_stopped = False
        self._judge = judge
        self._phase, _, self._name = judge.metric.partition("/")

    def due(self, step: int, total: int) -> bool:
        """Always, but it looks only at steps that have been evaluated; never at the end."""
        return step < total

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Report the value of this step, if there is one, and stop the run if that is wise."""
        if state.last is None or state.last.step != state.step:
            return
        found = state.last.metrics
        if self._phase == "train":
            found = state.means.read()
        if self._name not in found:
            raise ConfigError(
                f"sweep.metric={self._phase}/{self._name}: there is no such metric\n"
                f"  of {self._phase} there are: {', '.join(sorted(found))}"
            )
        reason = self._judge.verdict(state.step, state.clock, found[self._name])
        if reason is not None:
            self.has_stopped = True
            state.stop_reason = f"pruned: {reason}"
            log.info("pruned: %s", reason)
