"""Stop when a validation metric has stopped improving."""

import logging
from typing import Any

from torch import Tensor

from trainwright.engine.hook import Hook, due_every
from trainwright.engine.state import TrainState
from trainwright.errors import ConfigError
from trainwright.tasks.task import Objective

log = logging.getLogger(__name__)


class EarlyStop(Hook):
    """Stops after `patience` evaluations in a row without an improvement of `min_delta`."""

    def __init__(
        self, objective: Objective, *, every: float, patience: int, min_delta: float
    ) -> None:
        self._objective = objective
        self._every = every
        self._patience = patience
        self._min_delta = min_delta
        self._best: float | None = None
        self._num_bad = 0

    def due(self, step: int, total: int) -> bool:
        """With every evaluation."""
        return due_every(self._every, step, total)

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Compare the evaluation of this step with the best so far."""
        assert state.last is not None
        if self._objective.metric not in state.last.metrics:
            raise ConfigError(
                f"trainer.early_stopping.metric={self._objective.metric}: there is no such metric\n"
                f"  an evaluation of this task gives: {', '.join(sorted(state.last.metrics))}"
            )
        value = state.last.metrics[self._objective.metric]
        sign = 1 if self._objective.higher_is_better else -1
        bar = None if self._best is None else self._best + sign * self._min_delta
        if self._objective.is_better(value, bar):
            self._best, self._num_bad = value, 0
            return
        self._num_bad += 1
        if self._num_bad >= self._patience:
            metric = self._objective.metric
            state.stop_reason = (
                f"validation {metric} has not improved in {self._num_bad} evaluations"
            )
            log.info("stopping early: %s", state.stop_reason)

    def state_dict(self) -> dict[str, Any]:
        """The best value and how many evaluations have not beaten it."""
        return {"best": self._best, "num_bad": self._num_bad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._best, self._num_bad = state["best"], state["num_bad"]
