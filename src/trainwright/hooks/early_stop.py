"""Stop when a validation metric has stopped improving."""

import logging
from collections.abc import Collection

from torch import Tensor

from trainwright.data.batches import Batches
from trainwright.engine.clock import Clock
from trainwright.engine.evaluate import evaluate
from trainwright.engine.hook import Regular
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.errors import ConfigError
from trainwright.tasks.task import Objective
from trainwright.wording import nearest

log = logging.getLogger(__name__)

FEW = 64  # examples, that most metrics have a value for: a rate needs some of each class


def early_stop(settings: TrainerSettings, objective: Objective, clock: Clock) -> "list[EarlyStop]":
    """The hook that stops early, if that is asked for. Raises ConfigError."""
    wanted = settings.early_stopping
    if wanted.patience is None:
        return []
    if wanted.metric not in (None, objective.metric):
        if wanted.mode is None:
            raise ConfigError(
                f"trainer.early_stopping.metric={wanted.metric}: say which way is better\n"
                "  add trainer.early_stopping.mode=min or =max"
            )
        objective = Objective(str(wanted.metric), wanted.mode == "max")
    elif wanted.mode not in (None, objective.mode):
        raise ConfigError(
            f"trainer.early_stopping.mode={wanted.mode}: this task ranks checkpoints by"
            f" {objective.metric}, mode={objective.mode}\n"
            "  leave mode out, or add trainer.early_stopping.metric=... to stop by another metric"
        )
    every = clock.steps(settings.evaluate_every)
    if every <= 0:
        raise ConfigError("trainer.early_stopping needs evaluations: trainer.evaluate_every is 0")
    return [EarlyStop(objective, every=every, patience=wanted.patience, min_delta=wanted.min_delta)]


class EarlyStop(Regular):
    """Stops after `patience` evaluations in a row without an improvement of `min_delta`."""

    _remembered = ("best", "num_bad")

    def __init__(
        self, objective: Objective, *, every: float, patience: int, min_delta: float
    ) -> None:
        super().__init__(every)
        self._objective = objective
        self._patience = patience
        self._min_delta = min_delta
        self._best: float | None = None
        self._num_bad = 0

    def check_metric(
        self, state: TrainState, validation: Batches, further: Collection[str] = ()
    ) -> None:
        """Raise ConfigError unless an evaluation, here of a few examples, gives the metric.

        `further`: the names of the splits that are measured with the validation split.
        """
        if self._objective == state.task.objective:
            return
        state.open()
        task = state.evaluated_task
        measured = evaluate(
            task,
            validation,
            batch_size=min(FEW, validation.batch_size),
            placement=state.placement,
            seed=state.seed,
            limit=FEW,
        )
        try:
            names = list(measured.compute())
        except Exception:  # a metric of the user's own that these are too few for
            return  # the first evaluation will tell
        self._check_known([*names, *(f"{split}/{name}" for split in further for name in names)])

    def _check_known(self, names: Collection[str]) -> None:
        if self._objective.metric not in names:
            raise ConfigError(
                f"trainer.early_stopping.metric={self._objective.metric}: there is no such metric"
                f"{nearest(self._objective.metric, names)}\n"
                f"  an evaluation of this task gives: {', '.join(sorted(names))}"
            )

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Compare the evaluation of this step with the best so far."""
        assert state.last is not None
        self._check_known(state.last.metrics)
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
