"""Measure the validation split along the way, and remember the best."""

import logging
import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from trainwright.data.batches import Batches
from trainwright.engine.evaluate import evaluate
from trainwright.engine.hook import Regular
from trainwright.engine.interruption import can_be_cut_short
from trainwright.engine.nonfinite import refuse_nonfinite
from trainwright.engine.state import Evaluation, TrainState
from trainwright.tasks.metrics.metric import Measurement
from trainwright.wording import evaluation_line, format_number

log = logging.getLogger(__name__)


class Evaluate(Regular):
    """Evaluates with averaged weights where there are any, and tells the schedule.

    `further`: other splits that are measured too, by the names under which their metrics appear.
    """

    def __init__(
        self,
        batches: Batches,
        *,
        every: float,
        batch_size: int,
        further: Mapping[str, Batches] | None = None,
    ) -> None:
        super().__init__(every)
        self._batches = batches
        self._further = dict(further or {})
        self._batch_size = batch_size

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Score the validation split; set `state.last` and, if it is better, `state.best`.

        Raises CutShort where the run is to stop: an evaluation may take long, and can be repeated.
        """
        state.open()
        task = state.evaluated_task
        with can_be_cut_short(state):
            measured = self._measured(state, self._batches)
            scores = measured.compute()
            signs = measured.main.signs(scores)
            for name, batches in self._further.items():
                others = self._measured(state, batches).compute()
                scores |= {f"{name}/{metric}": value for metric, value in others.items()}
        state.last, state.signs = Evaluation(state.step, scores), signs
        objective = task.objective
        best = None if state.best is None else state.best.metrics.get(objective.metric)
        value = scores[objective.metric]
        if objective.is_better(value, best):
            state.best = state.last
        elif not math.isfinite(value):
            # Weights or statistics of batch normalisation that went wrong without a gradient.
            refuse_nonfinite(task.state_dict(), f"at the evaluation of step {state.step}")
            log.warning("validation %s is %s: it ranks no checkpoint", objective.metric, value)
        state.schedule.observe(value)
        log.info(
            evaluation_line(
                step=state.step,
                epoch=state.epoch,
                train=state.means.read(),
                validation=scores,
                wanted=task.headline,
                is_best=state.best is state.last,
                epsilon=None if state.privacy is None else state.privacy.spent(state.step),
            )
        )

    def _measured(self, state: TrainState, batches: Batches) -> Measurement:
        return evaluate(
            state.evaluated_task,
            batches,
            batch_size=self._batch_size,
            placement=state.placement,
            seed=state.seed,
            world=state.world,
        )


class Clients(Regular):
    """Measures what each client of a federated run holds out, with the weights that all share.

    Logged are the least, the mean and the most over clients of the objective and the loss, as
    `validation/client_least/accuracy`. It comes after the evaluation.
    """

    def __init__(self, held_out: Sequence[Batches], *, every: float, batch_size: int) -> None:
        super().__init__(every)
        self._held_out, self._batch_size = held_out, batch_size

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Evaluate for each, and note the spread for the next line of the log."""
        task = state.evaluated_task
        found = [
            evaluate(
                task,
                batches,
                batch_size=self._batch_size,
                placement=state.placement,
                seed=state.seed,
            ).compute()
            for batches in self._held_out
        ]
        for name in dict.fromkeys((task.objective.metric, "loss")):
            values = [scores[name] for scores in found if math.isfinite(scores.get(name, math.nan))]
            if values:
                spread = min(values), sum(values) / len(values), max(values)
                for part, value in zip(("least", "mean", "most"), spread, strict=True):
                    state.noted[f"validation/client_{part}/{name}"] = value
                text = " to ".join(map(format_number, (spread[0], spread[2])))
                log.info("  clients: validation %s %s", name, text)
